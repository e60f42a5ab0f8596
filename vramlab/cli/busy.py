"""What is said, asked and done where other programs kept the machine busy during a recording."""

from __future__ import annotations

import shlex
import sys
from itertools import count
from pathlib import Path
from typing import Any

import typer

from vramlab.cli.inputs import SettingsOptions
from vramlab.cli.output import log

CALM_S = 60.0
"""So long we wait for other programs to end before recording again."""


class Again:
    """Whether to record again what other programs have disturbed.

    Parameters
    ----------
    most : int or None
        How often at most; None: a terminal is asked, each time.
    out : Path
        The folder of the recording.
    """

    def __init__(self, most: int | None, out: Path) -> None:
        # whoever stands in a folder that is replaced stands in none; links and mounts cannot be moved
        stays = out.resolve() == Path.cwd() or out.is_symlink() or out.is_mount()
        self._left = 0 if stays else most

    def __call__(self, why: str) -> bool:
        """Return whether to, after waiting for the others to end; `why` says what they did."""
        if self._left is None:
            if not _wanted(why):
                return False
        elif self._left == 0:
            return False
        else:
            self._left -= 1
            log.print(f"{why}: recording again")
        from vramlab.live.machine_load import wait_for_calm

        if not wait_for_calm(CALM_S):
            log.print(f"other programs are still busy after {CALM_S:g} s")
        return True


def _wanted(why: str) -> bool:
    """Ask a terminal; whoever is none, or ends the input, does not want to."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return False
    try:
        return typer.confirm(f"{why}: record again?", default=False, err=True)
    except typer.Abort:  # what is recorded is shown all the same
        return False


def offered_again(
    why: str, workload: Path, out: Path, settings: SettingsOptions, given: dict[str, Any]
) -> str:
    """Say that a recording is that of a busy machine, and by which command to record again.

    Parameters
    ----------
    why : str
        What other programs did.
    workload, out, settings, given
        Of the recording; `given` has its other options, but for those that stand as they do by default.
    """
    parts: list[Any] = ["vramlab", "record", "--workload", workload, "--out", _free_name(out)]
    options = {"--config": settings.config, "--models": settings.models}
    for option, value in (options | given).items():
        parts += [] if value is None else [option, value]
    for change in settings.overrides or []:
        parts += ["--set", change]
    command = shlex.join([str(part) for part in [*parts, "--retry-busy", 2]])
    return f"{why}: its times are longer for that. When it is idle: {command}"


def _free_name(out: Path) -> Path:
    names = (out.parent / f"{out.resolve().name}{number}" for number in count(2))
    return next(name for name in names if not name.exists())
