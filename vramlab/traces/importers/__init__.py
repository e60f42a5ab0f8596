"""Importers of the traces that people in this field have: ``make_importer(name)(source, options)``.

Each reads its publisher's own columns, in chunks, and gives a trace and a report of what it read and dropped.
Another package adds its own by an entry point of the group ``vramlab.importers``
(:mod:`vramlab.config.plugins`): a function with the same parameters.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from vramlab.config.errors import InputError, nearest
from vramlab.config.plugins import load_plugin, plugin_names
from vramlab.traces.importers.azure_functions import import_azure_functions
from vramlab.traces.importers.genai_2026 import import_genai_2026
from vramlab.traces.importers.huawei import import_huawei
from vramlab.traces.importers.libcachesim import import_libcachesim_csv
from vramlab.traces.importers.ollama import import_ollama
from vramlab.traces.importers.open_webui import import_open_webui
from vramlab.traces.importers.options import ImportOptions, ImportReport
from vramlab.traces.importers.oracle_general import import_oracle_general
from vramlab.traces.importers.perf_analyzer import import_perf_analyzer
from vramlab.traces.importers.recipes import RECIPES
from vramlab.traces.importers.table import import_csv, import_recipe
from vramlab.traces.importers.triton import import_triton
from vramlab.traces.trace import Trace

Importer = Callable[[Path | str, ImportOptions], tuple[Trace, ImportReport]]

_OWN: dict[str, Importer] = {
    "azure-functions": import_azure_functions,
    "csv": import_csv,
    "genai-2026": import_genai_2026,
    "huawei": import_huawei,
    "libcachesim-csv": import_libcachesim_csv,
    "ollama": import_ollama,
    "open-webui": import_open_webui,
    "oracle-general": import_oracle_general,
    "perf-analyzer": import_perf_analyzer,
    "triton": import_triton,
}
_OWN.update({name: partial(import_recipe, name) for name in RECIPES})
IMPORTERS: dict[str, Importer] = dict(sorted(_OWN.items()))

__all__ = ["IMPORTERS", "ImportOptions", "ImportReport", "Importer", "importer_names", "make_importer"]


def importer_names() -> list[str]:
    """Return all names that :func:`make_importer` knows, ours and then those of plug-ins."""
    return [*IMPORTERS, *plugin_names("vramlab.importers", IMPORTERS)]


def make_importer(name: str) -> Importer:
    """Return the importer of that name.

    Raises
    ------
    InputError
        For an unknown name, and a plug-in that cannot be had or is no function.
    """
    found = load_plugin("vramlab.importers", name, IMPORTERS) or IMPORTERS.get(name)
    if found is None:
        known = importer_names()
        expected = (
            f"one of {', '.join(known)}{nearest(name, known)}; csv reads any table, JSON, Parquet or log"
        )
        raise InputError("import", "", repr(name), expected)
    if not callable(found):
        raise InputError("vramlab.importers", name, type(found).__name__, "a function (source, options)")
    importer: Importer = found
    return importer
