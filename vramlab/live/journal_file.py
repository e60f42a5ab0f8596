"""A journal that is on disk while the run goes on: appended, and flushed twice a second."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TextIO

from vramlab.config.errors import InputError
from vramlab.engine.journal import Journal

_FLUSH_EVERY_S = 0.5


class JournalFile(Journal):
    """Lines wait in memory until a thread of their own brings them to the file, twice a second.

    So nobody who serves requests waits for the disk, a killed process loses at most the last second, and a
    long run's journal does not fill the memory: lines are gone from it once they are written.

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
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = Path(path).open("x", encoding="utf-8")  # noqa: SIM115 (open while the run goes on)
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            raise InputError(path, "", found, "a new file that can be written") from error
        self._flushing = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._flush_regularly, name="vramlab-journal", daemon=True)
        self._thread.start()

    def flush(self) -> None:
        """Bring everything to the file."""
        with self._flushing:
            self._file.write(self.take_text())
            self._file.flush()

    def close(self) -> None:
        """Flush and close the file; closing twice is allowed."""
        self._closed.set()
        self._thread.join()
        if not self._file.closed:
            self.flush()
            self._file.close()

    def _flush_regularly(self) -> None:
        while not self._closed.wait(_FLUSH_EVERY_S):
            self.flush()
