"""Importer of Open WebUI: its database, a table of that as CSV or JSON, or an export of chats.

An answer (role ``assistant``) is a request for its model. ``created_at`` (``timestamp`` in an export) is in
seconds, in some rows of some versions in milliseconds. What Ollama reported of a load (``load_duration``,
nanoseconds, in ``usage`` or ``info``) is kept; titles, messages and users are not.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.layout import Layout, find_layout
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.reading import chunks
from vramlab.traces.importers.rows import RowLog
from vramlab.traces.trace import Trace, cell_text

COLUMNS = ("created_at", "role", "model_id", "usage")
_LOOKS_LIKE_MS = 1e11  # as seconds, a year beyond 5000
_LEAST_LOAD_S = 0.5  # below, Ollama found the model loaded and reports what looking took

_Row = tuple[Any, Any, Any, Any]


def import_open_webui(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read the answers of a database (``webui.db``), of its table ``chat_message``, or of exported chats.

    Raises
    ------
    InputError
        Naming file, row, what was found and what was expected.
    """
    options = options or ImportOptions()
    options = replace(options, table=options.table or "chat_message", header=True)
    layout = find_layout(source, options)
    log = RowLog(source, options.skip_bad_rows)
    loads_s: defaultdict[str, list[float]] = defaultdict(list)
    if layout.kind == "json" and "created_at" not in layout.columns:
        answers = _exported(layout.document, source)
        log.start_file(source)
        log.rows_read = len(answers)
        rows: Iterable[list[_Row]] = [answers]
    else:
        rows = _of_table(source, layout, log, options)
    return assemble((_piece(part, log, loads_s) for part in rows), log, options, None, loads_s)


def _of_table(
    source: Path | str, layout: Layout, log: RowLog, options: ImportOptions
) -> Iterator[list[_Row]]:
    missing = [name for name in COLUMNS[:3] if name not in layout.columns]
    if missing:
        there = ", ".join(layout.columns[:12])
        expected = "the table chat_message of Open WebUI, or an export of all chats"
        raise InputError(source, f"column {missing[0]}", f"only {there}", expected)
    wanted = [name for name in COLUMNS if name in layout.columns]
    for chunk in chunks(source, log, wanted, layout, options):
        columns = [chunk.cells[name].to_pylist() for name in wanted]
        if len(wanted) < len(COLUMNS):
            columns.append([None] * len(columns[0]))
        yield list(zip(*columns, strict=True))


def _exported(document: Any, source: Path | str) -> list[_Row]:
    """Return the answers of an export, which is a list of chats."""
    chats = document if isinstance(document, list) else [document]
    bodies = [chat.get("chat", chat) for chat in chats if isinstance(chat, dict)]
    if not any("messages" in body or "history" in body for body in bodies if isinstance(body, dict)):
        raise InputError(source, "", "no chats", "an export of all chats of Open WebUI, or its database")
    rows: list[_Row] = []
    for body in bodies:
        history = (body.get("history") or {}).get("messages") or {}
        messages: Iterable[Any] = history.values() if history else body.get("messages") or ()
        for message in messages:
            used = message.get("usage") or message.get("info")
            rows.append((message.get("timestamp"), message.get("role"), message.get("model"), used))
    return rows


def _piece(rows: list[_Row], log: RowLog, loads_s: defaultdict[str, list[float]]) -> Piece:
    times, models, questions = [], [], 0
    for place, (when, role, model, usage) in enumerate(rows):
        if role != "assistant":
            questions += 1
            continue
        time_s = _seconds(when)
        if not model:
            log.refuse(place, "model_id", cell_text(model), "the name of a model")
        elif math.isnan(time_s):
            log.refuse(place, "created_at", cell_text(when), "seconds or milliseconds since 1970")
        else:
            times.append(time_s)
            models.append(str(model))
            if usage and (load_s := _load_s(usage)) >= _LEAST_LOAD_S:
                loads_s[str(model)].append(load_s)
    log.drop("no answer of a model", questions)
    codes, names = pd.factorize(np.array(models, dtype=object))
    return Piece(
        np.array(times, dtype=np.float64), pd.Categorical.from_codes(codes, pd.Index(names, dtype=object))
    )


def _seconds(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return math.nan
    return number / 1e3 if abs(number) >= _LOOKS_LIKE_MS else number


def _load_s(usage: Any) -> float:
    """Load time that an answer reports, seconds; 0 where it does not."""
    if isinstance(usage, str):
        if "load_duration" not in usage:  # most do not, and parsing takes longest here
            return 0.0
        try:
            usage = json.loads(usage)
        except ValueError:
            return 0.0
    value = usage.get("load_duration") if isinstance(usage, dict) else None
    return float(value) / 1e9 if isinstance(value, int | float) else 0.0
