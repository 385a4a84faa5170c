"""By cost tier: the models up to a tier, cheapest first; together with a task, the tier filters the task's chain."""

from openrouter_fallback import FallbackClient, FallbackConfig

CONFIG = FallbackConfig(
    task_chains={"coding": ["anthropic/claude-opus-4.5", "anthropic/claude-sonnet-4.5", "openai/gpt-5-mini"]},
    cost_tiers={
        "premium": ["anthropic/claude-opus-4.5"],
        "standard": ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1"],
        "budget": ["openai/gpt-5-mini", "meta-llama/llama-3.3-70b-instruct"],
    },
)


def main() -> None:
    client = FallbackClient(config=CONFIG)
    for tier in ("budget", "standard", "premium"):
        print(f"{tier}: {', '.join(client.available(max_cost_tier=tier))}")
    for skipped in client.route(task="coding", max_cost_tier="standard").skipped:
        print(f"coding leaves out {skipped.model}: {skipped.reason}")

    answer = client.chat("Say hello.", max_cost_tier="standard")
    cost = "an unknown cost" if answer.cost is None else f"{answer.cost:.6f} USD"
    print(f"{answer.model} answered for {cost}")


if __name__ == "__main__":
    main()
