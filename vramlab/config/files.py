"""Writing files so that nobody ever sees half of one, and nothing over what was read."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vramlab.config.errors import InputError


def check_outputs(
    outputs: Iterable[Path | None],
    inputs: Iterable[Path | None] = (),
    folders: Iterable[Path | None] = (),
) -> None:
    """Refuse, before anything is computed, what could not be written then, or only over what was read.

    Parameters
    ----------
    outputs : iterable of Path
        Files that will be written; None stands for an option that was not given, here and below.
    inputs : iterable of Path
        Files that are read.
    folders : iterable of Path
        Folders that will be made, or filled.

    Raises
    ------
    InputError
        For an output that is an input, another output or a folder, and one that cannot be made where it is.
    """
    taken = {path.resolve(): "a file that is read" for path in inputs if path is not None}
    for path in outputs:
        if path is None:
            continue
        place = path.resolve()
        if place in taken:
            raise InputError(path, "", taken[place], "another file to write")
        taken[place] = "a file that is written already"
        if path.is_dir():
            raise InputError(path, "", "a folder", "a file to write")
        _check_folder(path, place.parent)
    for path in folders:
        if path is not None:
            _check_folder(path, path.resolve())


def _check_folder(path: Path, folder: Path) -> None:
    there = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    if not there.is_dir():
        raise InputError(path, "", f"{there}, which is no folder", "a path that can be written")
    if not os.access(there, os.W_OK):
        raise InputError(path, "", f"no right to write in {there}", "a path that can be written")


def check_suffix(path: Path, suffixes: tuple[str, ...]) -> None:
    """Refuse a file whose suffix would say that it is something else.

    Raises
    ------
    InputError
        If it is none of `suffixes`.
    """
    if path.suffix.lower() not in suffixes:
        expected = " or ".join(suffixes) if len(suffixes) < 3 else f"one of {', '.join(suffixes)}"
        raise InputError(path, "", f"suffix {path.suffix!r}", expected)


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it takes the place of `path`, on error it goes away.

    The temporary name keeps all suffixes of `path`, so that writers which go by suffix work.

    Raises
    ------
    InputError
        If the folder cannot be made or written.
    """
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(path, "", error.strerror or error, "a path that can be written") from error
    finally:
        # what has failed may be the folder itself: that it has no such file is not what there is to say
        with suppress(OSError):
            temporary.unlink()
