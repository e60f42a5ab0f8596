"""Importer of Ollama's log with ``OLLAMA_DEBUG=1``: arrivals, load times and sizes.

A request for a model that is there is "evaluating already loaded", one that needs a load is "loading model"
(``server/sched.go``); a load ends with "started in N seconds". It belongs to the model begun last, as Ollama
loads one at a time. Sizes stand behind ``runner.vram`` or ``runner.size``. The access lines ([GIN]) name no
model: alone they are refused, and beside the others their 429 and 503 are counted.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.layout import open_text
from vramlab.traces.importers.options import ImportOptions, ImportReport, counted
from vramlab.traces.importers.reading import text_lines
from vramlab.traces.importers.rows import Chunk, RowLog
from vramlab.traces.importers.times import Clock
from vramlab.traces.trace import Trace

_EVALUATED = re.compile(r'time=(\S+) .*msg="evaluating already loaded".* model=(\S+)')
_LOADING = re.compile(r'time=(\S+) .*msg="loading (?:first )?model(?: via llama-server)?".* model=(\S+)')
_STARTED = re.compile(r"(?:llama[- ]server|llama runner|runner) started in ([\d.]+) seconds")
_SIZE = re.compile(r'runner\.(?:vram|size)="?([\d.]+) ?([KMGT]?i?B)"?.* runner\.model=(\S+)')
_ACCESS = re.compile(r"\[GIN\] .*?\| +(\d{3}) \|")
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
          "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}  # fmt: skip
_REFUSED = ("429", "503")


class _Read:
    """What the lines say."""

    def __init__(self) -> None:
        self.times: list[str] = []
        self.models: list[str] = []
        self.rows: list[int] = []
        self.loads_s: defaultdict[str, list[float]] = defaultdict(list)
        self.sizes: dict[str, int] = {}
        self.access: Counter[str] = Counter()
        self.others = self.again = 0
        self.loading: str | None = None

    def line(self, number: int, text: str) -> None:
        """Take one line; the words that only some lines have are looked for first: a log is mostly others."""
        if "already loaded" in text and (found := _EVALUATED.search(text)):
            self._arrival(number, found[1], found[2])
        elif 'msg="loading ' in text and (found := _LOADING.search(text)):
            if self.loading == found[2]:
                self.again += 1  # room had to be made first, and it is tried once more
            else:
                self._arrival(number, found[1], found[2])
                self.loading = found[2]
        elif "started in" in text and (found := _STARTED.search(text)):
            if self.loading is not None:
                self.loads_s[self.loading].append(float(found[1]))
            self.loading = None
        elif "runner.model=" in text and (found := _SIZE.search(text)):
            size = round(float(found[1]) * _BYTES[found[2]])
            self.sizes[found[3]] = max(size, self.sizes.get(found[3], 0))
        elif "[GIN]" in text and (found := _ACCESS.search(text)):
            self.access[found[1]] += 1
        else:
            self.others += 1

    def _arrival(self, number: int, time: str, model: str) -> None:
        self.times.append(time)
        self.models.append(model)
        self.rows.append(number)


def import_ollama(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read the log of ``ollama serve``, also out of a journal, whose lines begin with its own words.

    Raises
    ------
    InputError
        Naming file and line, and for a log that names no models: what makes Ollama name them.
    """
    options = options or ImportOptions()
    log, read = RowLog(source, options.skip_bad_rows), _Read()
    with open_text(source, options.encoding or "utf-8"):
        pass  # a missing file is said before anything else
    lines = 0
    for number, text in text_lines(source, options.encoding or "utf-8"):
        read.line(number, text)
        lines = number
    if not lines:
        raise InputError(source, "", "an empty file", "Ollama's log")
    if not read.times:
        raise _blind(source, read, lines)
    log.rows_read = lines
    log.drop("not about an arrival, a load or a size", read.others)
    log.drop("another try of the same load", read.again)
    refused = sum(read.access[status] for status in _REFUSED)
    if refused:
        log.note(
            f"{counted(refused, 'access line')} answered 429 or 503: such a line names no model, so these "
            "requests are counted and not kept"
        )
    log.start_file(source, lambda row: read.rows[row])
    return assemble(_pieces(read, log, options), log, options, read.sizes, read.loads_s)


def _pieces(read: _Read, log: RowLog, options: ImportOptions) -> Iterator[Piece]:
    cells = {"time": pa.array(read.times, pa.string()), "model": pa.array(read.models, pa.string())}
    chunk = Chunk(cells, 0, log)
    clock = Clock(options, "time")
    time_s = clock.seconds(chunk)
    models = chunk.names("model", "the name of a model")
    yield Piece(time_s[chunk.good], models[chunk.good], origin_s=clock.origin_s)


def _blind(source: Path | str, read: _Read, lines: int) -> InputError:
    if read.access:
        found = f"{counted(sum(read.access.values()), 'access line')} ([GIN]), which name no model"
    else:
        found = f"{counted(lines, 'line')} that name no model"
    return InputError(source, "", found, "a log with OLLAMA_DEBUG=1, which names the model of each request")
