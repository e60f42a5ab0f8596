"""Write a journal: as a whole, or while the run goes on, appended and flushed twice a second.

Rules:

1. Serving never waits for the disk: only this file's own thread writes.
2. No line is lost while the process lives. What the disk does not take (it is full, say) waits in memory and
   is tried again; :attr:`JournalFile.trouble` says so meanwhile, and the log when it begins and ends.
3. The file holds whole lines in their order. After a write that was cut short the next one goes on at that
   byte, and all are appended, so that a file which is cut to nothing by a log rotation has no hole.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from vramlab.config.errors import InputError
from vramlab.config.files import replacing
from vramlab.engine.journal import Journal

_FLUSH_EVERY_S = 0.5
_LOG = logging.getLogger(__name__)


class Appended(Protocol):
    """A file that bytes are appended to, as :class:`io.FileIO`."""

    def write(self, data: bytes, /) -> int | None:
        """Append what there is room for. Returns how many bytes those are."""

    def close(self) -> None:
        """Close it."""


class JournalFile(Journal):
    """Writes its lines to a file twice a second, from a thread of its own.

    A killed process loses at most the last second. Lines leave the memory once they are written.

    Parameters
    ----------
    path : Path or str
        A ``.jsonl`` file.
    numbered : bool
        Where the file exists, as after a crash, go on in one with a number: ``journal.2.jsonl``.
    on_trouble : callable, optional
        Called once, in this file's thread, when the disk takes no more.

    Attributes
    ----------
    path : Path
        The file that is written.
    trouble : str
        Why the last lines are not on the disk; empty while they are.

    Raises
    ------
    InputError
        If the file exists (unless `numbered`) or cannot be written.
    """

    def __init__(
        self, path: Path | str, numbered: bool = False, on_trouble: Callable[[], object] | None = None
    ) -> None:
        super().__init__()
        self.path, self._file = _created(Path(path), numbered)
        if self.path != Path(path):
            _LOG.warning("%s exists: this run's journal is %s", path, self.path)
        self.trouble = ""
        self.on_trouble = on_trouble
        self._unwritten = b""
        self._flushing = threading.Lock()
        self._closing = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the disk has not taken."""
        return len(self._unwritten)

    def start(self) -> None:
        """Start the thread that writes."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._flush_regularly, name="vramlab-journal", daemon=True)
            self._thread.start()

    def flush(self) -> None:
        """Write what the disk takes; the rest waits."""
        with self._flushing:
            begins, ends = self._flush()
        # after the lock: whoever hears of it may look at the journal
        if begins:
            _LOG.error("%s: cannot be written (%s); its lines are kept and tried again", self.path, begins)
            if self.on_trouble is not None:
                self.on_trouble()
        if ends:
            _LOG.warning("%s: can be written again, nothing is lost", self.path)

    def _flush(self) -> tuple[str, bool]:
        """Write. Returns the trouble that begins with that, and whether one ends."""
        before = self.trouble
        self._unwritten += self.take_text().encode("utf-8", "backslashreplace")
        try:
            while self._unwritten:
                written = self._file.write(self._unwritten)
                if not written:
                    raise BlockingIOError("the file takes nothing")
                self._unwritten = self._unwritten[written:]
        except Exception as error:  # whatever a file system may raise: the writer goes on
            self.trouble = (getattr(error, "strerror", None) or str(error) or repr(error)).lower()
            return ("" if before else self.trouble), False
        self.trouble = ""
        return "", bool(before)

    def close(self) -> None:
        """Write what is left and close the file; closing twice is allowed.

        Raises
        ------
        InputError
            If the disk did not take the last lines.
        """
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        if self._closed:
            return
        self.flush()
        self._closed = True
        with contextlib.suppress(OSError):  # what was to be written is, or is counted below
            self._file.close()
        if self._unwritten:
            lost = self._unwritten.count(b"\n")
            found = f"{self.trouble}, and {lost} lines that are lost with that"
            raise InputError(self.path, "", found, "a disk with room for the journal")

    def _flush_regularly(self) -> None:
        while not self._closing.wait(_FLUSH_EVERY_S):
            # a log handler or `on_trouble` may raise, and nobody is left to be told
            with contextlib.suppress(Exception):
                self.flush()


def _created(path: Path, numbered: bool) -> tuple[Path, Appended]:
    for number in itertools.count(1):
        place = path if number == 1 else path.with_name(f"{path.stem}.{number}{path.suffix}")
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.open("xb").close()
            return place, place.open("ab", buffering=0)
        except FileExistsError as error:
            if numbered and place.is_file():
                continue
            raise InputError(place, "", "file exists", "a new file that can be written") from error
        except (OSError, ValueError) as error:
            found = (getattr(error, "strerror", None) or str(error)).lower()
            raise InputError(place, "", found, "a new file that can be written") from error
    raise AssertionError("numbers do not end")


def write_journal(journal: Journal, path: Path | str) -> None:
    """Write a journal file; ``.gz`` by suffix, the same lines give the same bytes."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS) if str(path).endswith(".gz") else None
    with replacing(path) as temporary, temporary.open("wb") as file:
        for text in journal.texts():
            file.write(text.encode() if packer is None else packer.compress(text.encode()))
        if packer is not None:
            file.write(packer.flush())
