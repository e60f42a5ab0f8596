"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vramlab.config.errors import InputError


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
        temporary.unlink(missing_ok=True)
