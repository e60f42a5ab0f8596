"""The command line; every command's keys and exit status are promised to users' scripts."""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit; an interrupt is one line, while modules are still being read too."""
    try:
        from vramlab.cli.app import main as run
    except KeyboardInterrupt:
        print("vramlab: interrupted", file=sys.stderr)
        sys.exit(130)
    run(arguments)
