"""Importer of Alibaba's ``cluster-trace-v2026-GenAI`` request trace (``lora_request_trace.csv``).

One row is one image-generation request of a production service and names the checkpoint that had to be in
GPU memory. Requests that failed there are kept: they wanted their model as the others did.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from vramlab.config.schema import Inventory, ModelSpec, Priority
from vramlab.traces.importers.assemble import Piece, assemble
from vramlab.traces.importers.layout import find_layout
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.reading import chunks
from vramlab.traces.importers.rows import RowLog
from vramlab.traces.importers.times import Clock
from vramlab.traces.trace import Trace, refuse_row, require_columns_of

TIME, MODEL = "gmt_create", "checkpoint_model_version_id"
REQUESTER, ITEMS = "groupId", "num_images_per_prompt"

# The trace gives no sizes: half of the checkpoints are taken to be SD 1.5, half SDXL, both fp16.
ODD_SIZE_MB, EVEN_SIZE_MB = 2048, 6656
LOAD_MS_PER_MB = 3.4
# Per image: with 2.7 images in the mean a request runs for 21.5 s, about the trace's median of 22 s. (The
# publisher's separate sample of inference times, with a median of 35 s, is per request.)
INFERENCE_MS = 8_000


def import_genai_2026(source: Path | str, options: ImportOptions | None = None) -> tuple[Trace, ImportReport]:
    """Read the publisher's CSV file (or ``.csv.gz``) as a trace.

    Models keep their names. The requester is ``groupId``, items are ``num_images_per_prompt`` (1 where it is
    missing). ``time_s`` counts from the first request that is kept. Rows without a model are dropped.

    Raises
    ------
    InputError
        Naming file, row, column, what was found and what was expected.
    """
    options = replace(options or ImportOptions(), header=True)
    log = RowLog(source, options.skip_bad_rows)
    return assemble(_pieces(source, log, options), log, options)


def _pieces(source: Path | str, log: RowLog, options: ImportOptions) -> Iterator[Piece]:
    layout = find_layout(source, options)
    columns = (TIME, MODEL, REQUESTER, ITEMS)
    require_columns_of(layout.columns, columns, source)
    clock = Clock(options, TIME)
    for chunk in chunks(source, log, columns, layout, options):
        time_s = clock.seconds(chunk)
        items = chunk.counts(ITEMS, "a whole number of at least 1, or nothing", default=1)
        model = chunk.names(MODEL)
        named = model.codes >= 0
        log.drop("no model", int((chunk.good & ~named).sum()))
        keep = chunk.good & named
        yield Piece(time_s[keep], model[keep], items[keep], {"requester": chunk.names(REQUESTER)[keep]})


def genai_2026_inventory(trace: Trace) -> Inventory:
    """Return the inventory of the models of an imported trace, sorted by name.

    Odd model numbers get 2,048 MB, even ones 6,656 MB, loaded at 3.4 ms per MB; every model has medium
    priority and the fallback ``cpu_standard``. ``inference_ms`` is 8,000 per image for all. A request then
    takes about as long as in the trace, whose ``exec_time_seconds`` have a median of 22 s.

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
