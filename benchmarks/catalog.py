"""CPU time for loading a catalog of 1,000 models from the cache. See README.md.

python benchmarks/catalog.py [--models 1000] [--runs 9]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import textwrap

# Each run is a new process, so that only the file system's cache is warm.
CHILD = """
    import asyncio, json, sys, time
    from openrouter_fallback import FallbackClient
    from openrouter_fallback.catalog import Catalog

    def entry(number):
        return {
            "id": f"author-{number % 60}/model-{number}-instruct",
            "canonical_slug": f"author-{number % 60}/model-{number}-instruct-20260101",
            "name": f"Author {number % 60}: Model {number} Instruct", "created": 1750000000,
            "description": "A model of many words. " * 20, "context_length": 131072,
            "architecture": {"modality": "text+image->text", "input_modalities": ["text", "image", "file"],
                             "output_modalities": ["text"], "tokenizer": "Other", "instruct_type": None},
            "pricing": {"prompt": "0.00000125", "completion": "0.00001", "request": "0", "image": "0"},
            "top_provider": {"context_length": 131072, "max_completion_tokens": 16384, "is_moderated": False},
            "supported_parameters": ["frequency_penalty", "include_reasoning", "logit_bias", "logprobs", "max_tokens",
                "min_p", "presence_penalty", "reasoning", "repetition_penalty", "response_format", "seed", "stop",
                "structured_outputs", "temperature", "tool_choice", "tools", "top_k", "top_logprobs", "top_p"],
            "expiration_date": None,
        }

    client = FallbackClient(["author-7/model-7-instruct"], api_key="none")
    if sys.argv[1] == "write":
        async def fetch(endpoint):
            return json.dumps({"data": [entry(number) for number in range(int(sys.argv[2]))]}).encode()
        urls = {name: endpoint.base_url for name, endpoint in client.config.endpoints.items()}
        asyncio.run(Catalog(urls, client.config.split, fetch, kept=urls).refresh())
    else:
        started = time.process_time()
        known = client.catalog.get("author-7/model-7-instruct")
        first = time.process_time()
        models = client.catalog.models()
        print(json.dumps([1e3 * (first - started), 1e3 * (time.process_time() - started), len(models)]))
        assert known is not None
"""


def main() -> None:
    """Write a cache, load it in new processes, and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "XDG_CACHE_HOME": cache}

        def child(*arguments: str) -> str:
            command = [sys.executable, "-c", textwrap.dedent(CHILD), *arguments]
            return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout

        child("write", str(options.models))
        runs = [json.loads(child("read")) for _ in range(options.runs)]
    for position, what in enumerate(("the first look-up, which loads the file", "all models read as ModelInfo")):
        times = [run[position] for run in runs]
        print(f"{what}: {statistics.median(times):.1f} ms (best {min(times):.1f}, worst {max(times):.1f})")
    print(f"{runs[0][2]} models, {options.runs} fresh processes")


if __name__ == "__main__":
    main()
