"""By type of error: each kind of failure has its own consequence, and each error says what to do next.

After a rate-limited or overloaded model the next model is called at once. A refused connection is tried once more after
a second. A wrong request, a wrong key and refused content are raised, because another model would not help.
"""

from openrouter_fallback import (
    AuthenticationError,
    ContentPolicyError,
    FailureKind,
    FallbackClient,
    FallbackError,
    InvalidRequestError,
    RateLimitedError,
    Settings,
)

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]


def ask(client: FallbackClient) -> str:
    try:
        answer = client.chat("Say hello.")
    except RateLimitedError as error:
        return f"every model is rate-limited; again in {error.retry_after or 0:.0f} s"
    except (AuthenticationError, InvalidRequestError, ContentPolicyError) as error:
        return f"{type(error).__name__}, after {len(error.attempts)} attempt: {error}"
    except FallbackError as error:  # every error of a call is one
        return f"{len(error.attempts)} attempts failed: {', '.join(str(attempt.kind) for attempt in error.attempts)}"
    return f"{answer.model} answered, after {[str(attempt.kind) for attempt in answer.attempts[:-1]] or 'no failure'}"


def main() -> None:
    print("as it is: ", ask(FallbackClient(CHAIN)))
    print("lenient: ", ask(FallbackClient(CHAIN, settings=Settings(on_failure={FailureKind.CONTENT_POLICY: "next"}))))


if __name__ == "__main__":
    main()
