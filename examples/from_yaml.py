"""From a YAML file: chains, tiers, models and settings apart from the code. All mistakes are one ConfigError."""

import sys
from pathlib import Path

from openrouter_fallback import ConfigError, FallbackClient

PATH = Path(__file__).with_name("fallback.yaml")


def main() -> None:
    path = sys.argv[1] if len(sys.argv) > 1 else PATH
    try:
        client = FallbackClient.from_config(path)
    except ConfigError as error:
        sys.exit(str(error))
    print("default:", ", ".join(client.available()))
    for task in client.config.task_chains:
        print(f"{task}:", ", ".join(client.available(task=task)))
    answer = client.chat("Say hello.")
    print(f"{answer.model} answered: {answer.text}")


if __name__ == "__main__":
    main()
