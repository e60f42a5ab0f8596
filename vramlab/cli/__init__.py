"""The command line; every command's keys and exit status are promised to users' scripts."""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit. What it needs is imported here, where an interrupt has an answer."""
    try:
        from vramlab.cli.app import main as run
    except KeyboardInterrupt:
        print("vramlab: interrupted", file=sys.stderr)
        sys.exit(130)
    run(arguments)
