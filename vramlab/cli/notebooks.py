"""``notebooks``: the notebooks and what they read, copied into a folder where they run."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from vramlab.cli.output import log
from vramlab.config import bundled
from vramlab.config.errors import InputError
from vramlab.config.files import check_outputs, replacing


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""
    app.command("notebooks")(notebooks_command)


def notebooks_command(
    folder: Annotated[Path, typer.Option("--out", help="Folder to make; one that is there must be empty.")],
) -> None:
    """Copy the notebooks, the guides, and the configurations and traces that they read, ready to run.

    Example: vramlab notebooks --out vramlab-notebooks
    """
    check_outputs([], folders=[folder])
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(folder, "", "a folder with files in it", "a new folder, or an empty one")
    with replacing(folder) as temporary:
        left_out = shutil.ignore_patterns(".ipynb_checkpoints", "__pycache__")
        try:
            shutil.copytree(bundled.ROOT / "notebooks", temporary, ignore=left_out)
            for name in bundled.FOLDERS:
                shutil.copytree(bundled.ROOT / name, temporary / name, ignore=left_out)
            if folder.is_dir():
                folder.rmdir()
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
    log.print(f"written to {folder}; next: pip install 'vramlab[notebooks]', then jupyter lab {folder}")
