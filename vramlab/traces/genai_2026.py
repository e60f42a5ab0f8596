"""Importer of Alibaba's ``cluster-trace-v2026-GenAI`` request trace (``lora_request_trace.csv``).

One row is one image-generation request of a production service and names the checkpoint that had to be in
GPU memory. Requests that failed there are kept: they wanted their model as the others did.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, Priority
from vramlab.traces.files import read_csv
from vramlab.traces.trace import Trace, refuse_row, require_columns

TIME, MODEL = "gmt_create", "checkpoint_model_version_id"
REQUESTER, ITEMS = "groupId", "num_images_per_prompt"

# The trace gives no sizes: half of the checkpoints are taken to be SD 1.5, half SDXL, both fp16.
ODD_SIZE_MB, EVEN_SIZE_MB = 2048, 6656
LOAD_MS_PER_MB = 3.4
# Median of the pure inference times that the publisher measured (`model_predict_data_anon`).
INFERENCE_MS = 35_000


@dataclass(frozen=True)
class ImportReport:
    """What an import made of its source.

    Parameters
    ----------
    rows_read, rows_kept : int
        Rows of the source, and requests of the trace.
    dropped : dict
        Reason to number of rows.
    reordered : bool
        True where the source was not in order of time and had to be sorted.
    """

    rows_read: int
    rows_kept: int
    dropped: dict[str, int]
    reordered: bool = False

    def lines(self) -> list[str]:
        """Sentences for people."""
        lines = [f"{self.rows_read:,} rows read, {self.rows_kept:,} requests kept"]
        lines += [f"{count:,} dropped: {reason}" for reason, count in self.dropped.items()]
        if self.reordered:
            lines.append("the source was not in order of time: sorted, equal times in the order of the file")
        return lines

    def __str__(self) -> str:
        return "\n".join(self.lines())


def import_genai_2026(source: Path | str) -> tuple[Trace, ImportReport]:
    """Read the publisher's CSV file (or ``.csv.gz``) as a trace.

    Models keep their names, the requester is ``groupId``, items are ``num_images_per_prompt`` (1 where it
    is missing), and ``time_s`` counts from the first request that is kept.

    Raises
    ------
    InputError
        Naming file, row, column, what was found and what was expected.
    """
    table = read_csv(source, dtype="str")
    require_columns(table, (TIME, MODEL, REQUESTER, ITEMS), source)
    if table.empty:
        raise InputError(source, "", "no rows", "at least one request")
    seconds = _seconds(table, source)
    items = _items(table, source)
    kept = table[MODEL].notna().to_numpy()
    if not kept.any():
        raise InputError(source, f"column {MODEL}", "no row with a model", "at least one")
    rows = np.flatnonzero(kept)
    order = rows[np.argsort(seconds[rows], kind="stable")]
    frame = pd.DataFrame(
        {
            "time_s": seconds[order] - seconds[order[0]],
            "model": table[MODEL].iloc[order].to_numpy(),
            "items": items[order],
            "requester": table[REQUESTER].iloc[order].to_numpy(),
        }
    )
    without_model = len(table) - len(rows)
    report = ImportReport(
        rows_read=len(table),
        rows_kept=len(rows),
        dropped={"no model": without_model} if without_model else {},
        reordered=not np.array_equal(order, rows),
    )
    return Trace.from_frame(frame, str(source)), report


def genai_2026_inventory(trace: Trace) -> Inventory:
    """Inventory of the models of an imported trace, sorted by name.

    Odd model numbers get 2,048 MB, even ones 6,656 MB, loaded at 3.4 ms per MB; every model has medium
    priority and the fallback ``cpu_standard``. ``inference_ms`` is 35,000 for all: the median that the
    publisher measured per request. The engine counts it per item, so a request for several images takes a
    multiple of it; set ``inference_ms`` lower where that matters.

    Raises
    ------
    InputError
        If a model's name is not ``M`` and a number.
    """
    inventory: Inventory = {}
    for name in sorted(trace.model_names):
        if not re.fullmatch(r"M[0-9]+", name):
            row = trace.model_names.index(name)
            first = int(np.argmax(trace.model_codes == row))
            refuse_row(trace.source, first, "model", name, "M and a number, as in M0002")
        size_mb = ODD_SIZE_MB if int(name[1:]) % 2 else EVEN_SIZE_MB
        inventory[name] = ModelSpec(
            priority=Priority.MEDIUM,
            vram_size_mb=size_mb,
            load_time_ms=round(size_mb * LOAD_MS_PER_MB, 3),
            cpu_fallback="cpu_standard",
            inference_ms=INFERENCE_MS,
        )
    return inventory


def _seconds(table: pd.DataFrame, source: Path | str) -> np.ndarray:
    times = pd.to_datetime(table[TIME], format="%Y-%m-%d %H:%M:%S", errors="coerce")
    bad = times.isna().to_numpy()
    if bad.any():
        row = int(np.argmax(bad))
        refuse_row(source, row, TIME, table[TIME].iloc[row], "a time such as 2024-11-15 16:57:50")
    return (times - times.iloc[0]).dt.total_seconds().to_numpy()


def _items(table: pd.DataFrame, source: Path | str) -> np.ndarray:
    expected = "a whole number of at least 1, or nothing"
    cells = table[ITEMS]
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    good = np.isfinite(values) & (values >= 1) & (values == np.floor(values))
    bad = ~(good | cells.isna().to_numpy())
    if bad.any():
        row = int(np.argmax(bad))
        refuse_row(source, row, ITEMS, cells.iloc[row], expected)
    return np.where(good, values, 1.0).astype(np.int64)
