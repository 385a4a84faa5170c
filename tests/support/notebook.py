"""Runs one notebook from top to bottom in a kernel of this interpreter: python notebook.py FILE FOLDER [CELL ...]

FOLDER is where the kernel lives, and `ran.ipynb` is left; its path is short, for sockets are in it. With ids of cells
only these run. What a cell raises ends it with status 1. A process of its own: the kernel's client leaves its sockets
open.
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
    """The only kernel there is, whatever is installed."""

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
