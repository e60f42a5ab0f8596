"""What the columns of a results frame mean to a plot: labels, units, which way is better, intervals, memory.

A column is a figure (:mod:`vramlab.analysis.figures`), a setting that was varied, or neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from vramlab.analysis import style
from vramlab.analysis.figures import FIGURES
from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import VramConfig

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Figures that have a better name than their key, or another unit: label, factor.
_LABELS: dict[str, tuple[str, float]] = {
    "hit_rate": ("Hit rate (%)", 100.0),
    "cold_start_rate": ("Cold starts (% of requests)", 100.0),
    "load_cost_s": ("Load cost (h)", 1 / 3600),
    "gap_closed": ("Gap to the optimum closed (%)", 100.0),
    "latency_mean_s": ("Mean latency (s)", 1.0),
    "latency_p50_s": ("Median latency (s)", 1.0),
    "latency_p95_s": ("Latency, 95th percentile (s)", 1.0),
    "latency_p99_s": ("Latency, 99th percentile (s)", 1.0),
}
# Settings whose names have no dot, beside the sections' own.
_SETTINGS = {"policy", "order", "trace", "models", "mode", "seed", "predictor", "admission"}


def need(frame: pd.DataFrame, *columns: str) -> None:
    """Refuse a frame without rows, or without one of these columns.

    Raises
    ------
    InputError
        Naming the column, and the one that is nearest to it.
    """
    for column in columns:
        if column not in frame:
            expected = f"that column{nearest(column, map(str, frame.columns))}"
            raise InputError("plot", f"column {column}", "nothing", expected)
    if frame.empty:
        raise InputError("plot", "frame", "no rows", "at least one")


def label(value: str, numbers: pd.Series) -> tuple[str, float]:
    """Return the axis label of a figure, and the factor from its column to the axis."""
    if value == "load_cost_s" and numbers.max() < 2 * 3600:
        return "Load cost (s)", 1.0
    if value.startswith("latency") and numbers.max() < 1 and value in _LABELS:
        return _LABELS[value][0].replace("(s)", "(ms)"), 1000.0
    if value in _LABELS:
        return _LABELS[value]
    if "bytes" in value.split("_"):
        unit, name = style.bytes_unit(float(numbers.max()))
        what = " ".join(word for word in value.split("_") if word != "bytes").capitalize()
        return f"{what} ({name})", 1 / unit
    return (f"{_words(value[:-2])} (s)" if value.endswith("_s") else _words(value)), 1.0


def setting(key: str) -> str:
    """Name of a setting for an axis: its dotted key, as one writes it, with the unit apart."""
    return f"{key[:-3]} (MB)" if key.endswith("_mb") else key


def higher(value: str) -> bool:
    """Return whether more of a figure is better."""
    if value in FIGURES and FIGURES[value].better:
        return FIGURES[value].better == "higher"
    return value.endswith(("_rate", "_closed")) and value != "cold_start_rate"


def settings_in(frame: pd.DataFrame) -> list[str]:
    """Return the columns that say what was run, not what came of it."""
    known = _SETTINGS | set(VramConfig.model_fields)
    return [str(name) for name in frame.columns if "." in str(name) or str(name) in known]


def differing(frame: pd.DataFrame) -> list[str]:
    """Return the settings that are not the same in all rows."""
    return [name for name in settings_in(frame) if frame[name].astype(str).nunique() > 1]


def spread(rows: pd.DataFrame, value: str, factor: float) -> np.ndarray | None:
    """Return the lengths of the error bars below and above, or None without intervals."""
    if not has_interval(rows, value):
        return None
    number = rows[value].to_numpy(dtype=float)
    low, high = (rows[f"{value}_{end}"].to_numpy(dtype=float) for end in ("low", "high"))
    return np.nan_to_num(np.abs(np.array([number - low, high - number]) * factor))


def has_interval(frame: pd.DataFrame, value: str) -> bool:
    """Return whether a figure has a column of its least and one of its greatest value."""
    return f"{value}_low" in frame and f"{value}_high" in frame


def interval_text(frame: pd.DataFrame, value: str, given: str = "") -> str:
    """What bars and bands are of: as given, as the frame says (``attrs["interval"]``), else its columns."""
    return given or str(frame.attrs.get("interval") or f"columns {value}_low to {value}_high")


def memory_text(frame: pd.DataFrame) -> str:
    """Return the memory under which all rows came about; empty where they say none, or differ."""
    for column, factor in (("card_bytes", 1), ("total_memory_mb", 2**20)):
        if column in frame:
            sizes = frame[column].dropna().unique()
            if len(sizes) != 1:
                return ""
            text = f"{_size(float(sizes[0]) * factor)} card"
            room = list(frame["capacity_bytes"].dropna().unique()) if "capacity_bytes" in frame else []
            less = len(room) == 1 and float(room[0]) < float(sizes[0]) * factor
            return f"{text}, {_size(float(room[0]))} for models" if less else text
    return ""


def title(ax: Axes, text: str, frame: pd.DataFrame, pad: float = 6.0) -> None:
    """Give axes a title that says the memory, where all rows are of one."""
    memory = memory_text(frame)
    style.title(ax, f"{text}  ·  {memory}" if text and memory else text or memory, pad)


def short(number: float) -> str:
    """Return the three digits that matter."""
    return f"{number:,.0f}" if abs(number) >= 100 else f"{number:#.3g}".rstrip(".")


def plain(number: object) -> str:
    """Return a value of a setting."""
    return f"{number:g}" if isinstance(number, int | float) else str(number)


def _size(size_bytes: float) -> str:
    unit, name = style.bytes_unit(size_bytes)
    return f"{size_bytes / unit:,.4g} {name}" if name == "GB" else f"{size_bytes / unit:,.0f} MB"


def _words(key: str) -> str:
    words = key.replace("_", " ").capitalize().split()
    return " ".join(word.upper() if word.lower() in ("gb", "mb") else word for word in words)
