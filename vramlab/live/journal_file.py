"""A journal that is on disk while the run goes on: appended, and flushed at least once a second."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, TextIO

from vramlab.config.errors import InputError
from vramlab.engine.journal import Journal, encode

_FLUSH_EVERY_S = 0.5


class JournalFile(Journal):
    """Lines go to memory and, in small batches, to a file.

    A killed process loses at most what came since the last batch: half a second, as long as events come, and
    :meth:`flush` is called by the runtime's own timer when none do.

    Parameters
    ----------
    path : Path or str
        A ``.jsonl`` file; it must not exist yet.

    Raises
    ------
    InputError
        If the file exists or cannot be written.
    """

    def __init__(self, path: Path | str) -> None:
        super().__init__()
        try:
            self._file: TextIO = Path(path).open("x", encoding="utf-8")  # noqa: SIM115 (open while the run goes on)
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            raise InputError(path, "", found, "a new file that can be written") from error
        self._written = 0
        self._flushed_s = time.monotonic()

    def write(self, *line: Any) -> None:
        """Append one line."""
        self.lines.append(line)
        if time.monotonic() - self._flushed_s >= _FLUSH_EVERY_S:
            self.flush()

    def flush(self) -> None:
        """Bring everything to the file."""
        self._flushed_s = time.monotonic()
        if self._written < len(self.lines):
            self._file.write("".join(f"{encode(line)}\n" for line in self.lines[self._written :]))
            self._written = len(self.lines)
            self._file.flush()

    def close(self) -> None:
        """Flush and close the file."""
        self.flush()
        self._file.close()
