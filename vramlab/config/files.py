"""Writing files so that nobody ever sees half of one, and nothing over what was read."""

from __future__ import annotations

import errno
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vramlab.config.errors import InputError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_LOG = logging.getLogger(__name__)


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


def read_json(path: Path, expected: str) -> dict[str, Any]:
    """Return the object that a JSON file holds, which is `expected` there.

    Raises
    ------
    InputError
        If the file cannot be read, is no JSON, or holds something else.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(path, "", (error.strerror or str(error)).lower(), expected) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, "", error, expected) from error
    if not isinstance(document, dict):
        raise InputError(path, "", f"a {type(document).__name__}", expected)
    return document


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep everybody else from writing what belongs to `path` meanwhile; a process that dies lets go of it.

    The lock is the system's, on a file beside `path` that is gone afterwards. A file system that knows no
    locks leaves the study unguarded, which the log says.

    Raises
    ------
    InputError
        If somebody else has it.
    """
    place = path.with_name(f".{path.name}.lock")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _lock(place)
    except BlockingIOError as error:
        raise InputError(
            path, "", "another process that writes it now", "another file, or the end of that process"
        ) from error
    except OSError as error:
        raise InputError(path, "", error.strerror or error, "a path that can be written") from error
    try:
        yield
    finally:
        with suppress(OSError):  # before it is let go of: who comes next makes a new one
            place.unlink()
        os.close(descriptor)


def _lock(place: Path) -> int:
    """Lock the file at `place` and return its descriptor; BlockingIOError if somebody else has it."""
    while True:
        descriptor = os.open(place, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _take(descriptor, place)
            with suppress(FileNotFoundError):
                # whoever had it may have removed it in between: then this is the lock of nothing
                if os.path.samestat(os.fstat(descriptor), os.stat(place)):
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _take(descriptor: int, place: Path) -> None:
    if fcntl is None:
        _LOG.warning("%s: this system has no locks, see to it that nobody else writes there", place)
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        _LOG.warning("%s: no locks there (%s), see to it that nobody else writes", place, error)


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
        _to_the_disk(temporary)  # else a power failure may leave the new name with nothing behind it
        os.replace(temporary, path)
        _to_the_disk(path.parent)
    except OSError as error:
        raise InputError(path, "", error.strerror or error, "a path that can be written") from error
    finally:
        # what has failed may be the folder itself: that it has no such file is not what there is to say
        with suppress(OSError):
            temporary.unlink()


def _to_the_disk(path: Path) -> None:
    """Let what is written at `path`, a file or a folder, survive a power failure."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:  # folders of Windows; and what is not there is for the caller to find out
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that cannot
            raise
    finally:
        os.close(descriptor)
