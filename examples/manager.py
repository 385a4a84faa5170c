"""A manager of models: priorities, attempts, failed models skipped for a while, and models disabled by hand.

`policy="any_error"` calls the next model after every failure, and then skips the failed one for its `disable_duration`.
The default, `smart`, decides by the kind of failure.
"""

from openrouter_fallback import FallbackClient, ModelConfig, Settings


def main() -> None:
    models = [
        ModelConfig("meta-llama/llama-3.3-70b-instruct", priority=3),
        ModelConfig("anthropic/claude-sonnet-4.5", priority=1, max_retries=2, timeout=30, disable_duration=300),
        ModelConfig("openai/gpt-5.1", priority=2),
    ]
    client = FallbackClient(models, settings=Settings(policy="any_error"))
    print("in order of priority:", ", ".join(client.available()))

    answer = client.chat("In one sentence: what does a circuit breaker do?")
    print(f"{answer.model} answered, after {len(answer.attempts) - 1} failed attempts")
    show(client, "after the call")

    client.disable("openai/gpt-5.1", 60)
    show(client, "after disable()")
    client.enable("openai/gpt-5.1")
    client.reset()  # forgets what was learnt
    show(client, "after enable() and reset()")


def show(client: FallbackClient, when: str) -> None:
    route = client.route()
    left_out = [f"{skip.model} ({skip.reason}, {(skip.seconds_left or 0) / 60:.0f} min)" for skip in route.skipped]
    print(f"{when}: available {len(route.candidates)}, left out: {', '.join(left_out) or 'none'}")


if __name__ == "__main__":
    main()
