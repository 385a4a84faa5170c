"""Streaming: the answer piece by piece. A failure is invisible: before the first piece another model
answers, after it another model continues the text. If none can, the stream raises."""

from openrouter_fallback import FallbackClient, StreamInterruptedError

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]


def main() -> None:
    client = FallbackClient(CHAIN)
    try:
        with client.stream("Count from one to ten in words.") as stream:  # leaving the block closes the connection
            for piece in stream:
                print(piece.text, end="", flush=True)
    except StreamInterruptedError as error:
        print(f"\nbroken off after {len(error.partial or '')} characters")
        return
    answer = stream.completion
    print(f"\n{answer.model} answered in {len(answer.attempts)} attempt(s), {answer.seconds:.2f} s")


if __name__ == "__main__":
    main()
