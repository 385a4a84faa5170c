"""By health: models with the best success rate come first, and a model whose circuit is open is skipped.

The client does this without your code. `HealthTracker` is the same as a separate tool.
"""

from openrouter_fallback import FallbackClient, HealthTracker, Settings
from openrouter_fallback.events import AttemptEnded, Event

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]


def main() -> None:
    settings = Settings(order_by="health", skip_threshold=0.3, min_samples=3, health_window_minutes=10)
    client = FallbackClient(CHAIN, settings=settings)
    tracker = HealthTracker(window_minutes=10)

    def watch(event: Event) -> None:
        if isinstance(event, AttemptEnded):
            record = tracker.record_success if event.attempt.answered else tracker.record_failure
            record(event.attempt.model)

    client.subscribe(watch)
    for number in range(1, 5):
        called = [attempt.model for attempt in client.chat("Say hello.").attempts]
        print(f"call {number}: called {', '.join(called)}")
    for model, health in client.health().items():
        print(f"{model}: {health.state}, success rate {health.success_rate:.0%}", end="")
        print(f"; tracker: {tracker.get_success_rate(model):.0%}, skip: {tracker.should_skip(model, threshold=0.3)}")


if __name__ == "__main__":
    main()
