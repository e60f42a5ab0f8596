"""The ``vramlab`` command: its groups of commands, and one clear line for every bad input.

Exit status: 0 done; 1 a check you asked for failed; 2 bad input; 130 interrupted.
"""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module

import typer

from vramlab import __version__
from vramlab.cli.commands import COMMANDS
from vramlab.config.compiled import compiled, outdated
from vramlab.config.errors import InputError, nearest

# What typer raises for a wrong option or argument. Newer versions of typer bring their own copy of click, so
# the class is not to be had by click's name.
_UsageError: type[typer.BadParameter] = typer.BadParameter.__mro__[1]
_INTERRUPTED = 130
_LIVE_PACKAGES = {"onnxruntime", "onnx", "ml_dtypes", "pynvml"}  # that vramlab-sim leaves out


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"vramlab {__version__} ({'compiled' if compiled() else 'interpreted'})")
        raise typer.Exit


def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Show the version."
    ),
) -> None:
    pass


def application(asked: str | None = None) -> typer.Typer:
    """Return the command line as typer has it.

    Parameters
    ----------
    asked : str, optional
        The command that is to be run: only its module is read. Without it all are listed and none can be run.
    """
    app = typer.Typer(
        name="vramlab",
        help="Which models stay in VRAM? Record real traffic, replay it through the allocator that runs in "
        "production, compare settings, take the winner home.",
        epilog="Exit status: 0: done. 1: a check you asked for failed. 2: bad input. 130: interrupted.",
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(_options)
    if asked in COMMANDS:
        import_module(f"vramlab.cli.{COMMANDS[asked].module}").register(app)
        return app
    for name, command in COMMANDS.items():
        app.command(name, help=command.about)(_listed)
    return app


def _listed() -> None:
    raise AssertionError("a command that is only listed was run")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit."""
    status = run(arguments)
    try:
        sys.stdout.flush()
    except OSError as error:
        status = _cannot_write(error)
    gc.freeze()  # what is left goes with the process: to look for garbage among 50,000 models takes 0.4 s
    sys.exit(status)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    old = outdated() if compiled() else []
    if old:
        return _refuse(f"{old[0]}: machine code older than its source: make compiled, or make interpreted")
    try:
        asked = next((word for word in given if word != "--"), None)
        status = typer.main.get_command(application(asked))(given, standalone_mode=False)
    except InputError as error:
        return _refuse(str(error))
    except _UsageError as error:
        return _refuse(_plain(error.format_message()))
    except ModuleNotFoundError as error:
        if error.name not in _LIVE_PACKAGES:
            raise
        return _refuse(f"this needs {error.name}: pip install 'vramlab-sim[live]'")
    except (typer.Abort, KeyboardInterrupt):
        status = _INTERRUPTED
    except OSError as error:  # a disk that is full, a file that was there a moment ago
        return _cannot_write(error)
    if status == _INTERRUPTED:  # newer versions of typer make a status of it and say nothing
        return _refuse("interrupted", _INTERRUPTED)
    return status if isinstance(status, int) else 0


def _plain(message: str) -> str:
    """Return a message of typer with a near name, and without the words of pydantic that it lets through."""
    for theirs, ours in _WORDS.items():
        message = message.replace(theirs, ours)
    choice = re.search(r"'([^']*)' is not one of (.*)", message)
    if choice is None:
        return message
    return message.rstrip(".") + nearest(choice[1], re.findall("'([^']*)'", choice[2]))


_WORDS = {
    "Value error, ": "",
    "Input should be a valid integer, unable to parse string as an integer": "expected a whole number",
    "Input should be a valid number, unable to parse string as a number": "expected a number",
    "Input should be ": "expected ",
}


def _cannot_write(error: OSError) -> int:
    """Say what the system would not do; without a file it is that of standard output. Returns the status."""
    place = error.filename
    if place is None:
        place = "standard output"
        # what is left in its buffer would be written, and fail, once more when Python ends
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):  # whoever reads has enough, and knows it
        return 2
    return _refuse(f"{place}: {(error.strerror or str(error)).lower()}")


def _refuse(message: str, status: int = 2) -> int:
    print(f"vramlab: {' '.join(message.split())}", file=sys.stderr)
    return status
