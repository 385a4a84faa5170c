"""Runs one notebook in a kernel of this interpreter: python notebook.py FILE FOLDER [CELL ...]

The kernel runs in FOLDER, and the result is written there as `ran.ipynb`. The path of FOLDER must be short, because it
contains sockets. With ids of cells, only these cells run. If a cell raises, the exit status is 1. This is a separate
process, because the kernel's client does not close its sockets.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError


class ThisInterpreter(KernelSpecManager):
    """A kernel manager with one kernel, this interpreter, independent of the installed kernels."""

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        return KernelSpec(argv=command, display_name=kernel_name, language="python")


async def main(file: str, folder: str, *cells: str) -> None:
    home = Path(folder)
    notebook = nbformat.read(file, as_version=4)
    if cells:
        notebook.cells = [cell for cell in notebook.cells if cell.id in cells]
    manager = AsyncKernelManager(
        kernel_spec_manager=ThisInterpreter(), transport="ipc", connection_file=str(home / "kernel.json")
    )
    client = NotebookClient(notebook, km=manager, timeout=60, coalesce_streams=True)
    try:
        await client.async_execute(cwd=folder)
    except CellExecutionError as error:
        sys.exit(str(error))
    finally:
        await manager.shutdown_kernel(now=True)
    nbformat.write(notebook, home / "ran.ipynb")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
