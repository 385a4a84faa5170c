"""A process that imports an adapter, makes its chain and makes one call; it prints the cost as one line of JSON.

Run in a peer's environment: python cold.py ADAPTER BASE_URL KEY OPTIONS(JSON). Before the measurement, the process
imports nothing that a peer could need.
"""

import sys
import time

begun, cpu = time.perf_counter(), time.process_time()

sys.path.append(__file__.rpartition("/benchmarks/")[0])


def resident() -> float:
    """The resident memory of this process, in MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def main() -> None:
    from importlib import import_module

    adapter, base_url, key, options = sys.argv[1:]
    module = import_module(f"benchmarks.peers.adapters.{adapter}")
    imported = resident()
    import json

    def made():
        return module.Chain(base_url, key, ["bench/20", "other/20"], None, **json.loads(options))

    assert made().call()
    seconds, spent = time.perf_counter() - begun, time.process_time() - cpu
    import asyncio

    async def many() -> None:
        chain = made()  # A client may be bound to the event loop of its first call.
        for _ in range(3):
            await asyncio.gather(*(chain.acall() for _ in range(64)))

    asyncio.run(many())
    figures = {"seconds": seconds, "cpu": spent, "imported": imported, "busy": resident()}
    print("\n" + json.dumps(figures), flush=True)
    import os

    os._exit(0)  # Some peers have threads that do not end.


main()
