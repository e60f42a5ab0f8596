"""What the explorer draws of a replay: who was in VRAM when, its week, its bursts, its latencies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from vramlab.analysis.names import display_names
from vramlab.analysis.plots import latency_distribution
from vramlab.analysis.rhythm import burst_plot, weekday_map
from vramlab.analysis.timelines import residency_timeline
from vramlab.config.errors import InputError
from vramlab.config.schema import VramConfig
from vramlab.runs.records import Records

_LEFT = 0.09
_LONGEST = 34  # characters of a model's name beside the axes


@dataclass(frozen=True, eq=False)
class Drawn:
    """What is drawn: a run, its settings, and what of it one wants to see.

    Parameters
    ----------
    records : Records
        Of the run.
    config : VramConfig
        Of the run.
    most : int
        So many models, the most requested.
    window_s : (float, float)
        In seconds since the first request.
    timed : bool
        Whether the run has latencies.
    """

    records: Records
    config: VramConfig
    most: int
    window_s: tuple[float, float]
    timed: bool = True


def memory_text(config: VramConfig) -> str:
    """The card's memory, what of it models may hold, and how zones divide it."""
    budget_mb = config.total_memory_mb - config.overhead.total_mb
    text = f"{config.total_memory_mb:,g} MB card, {budget_mb:,g} MB for models"
    if len(config.zones) == 1:
        (zone,) = config.zones.values()
        return text if zone.size_mb >= budget_mb else f"{text}, {zone.size_mb:,g} MB of it in use (its zone)"
    return f"{text}: " + ", ".join(f"{name} {zone.size_mb:,g}" for name, zone in config.zones.items())


def _timeline(figure: Figure, low: float, height: float, drawn: Drawn) -> None:
    axes = figure.add_axes((_LEFT, low, 0.99 - _LEFT, height))
    residency_timeline(
        drawn.records, axes, most=drawn.most, legend_above=True, window_s=drawn.window_s
    )  # fmt: skip
    names = [label.get_text() for label in axes.get_yticklabels()]
    axes.set_yticks(axes.get_yticks(), display_names(names, _LONGEST) if len(names) > 1 else names)
    axes.tick_params(labelsize=8.5)
    left = max(_LEFT, _label_width(figure, axes) + 0.012)
    axes.set_position((left, low, 0.992 - left, height))
    axes.xaxis.label.set_fontsize(9)


def _label_width(figure: Figure, axes: Axes) -> float:
    """Width of the longest label beside the axes, as a part of the figure."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    widths: list[float] = [label.get_window_extent(renderer).width for label in axes.get_yticklabels()]
    widest: float = max(widths, default=0.0)
    width_px: float = figure.get_size_inches()[0] * figure.dpi
    return (widest + 8) / width_px


def _week(figure: Figure, low: float, height: float, drawn: Drawn) -> None:
    axes = figure.add_axes((0.07, low, 0.85, height))
    offset = drawn.config.optimization.week_offset_s or None
    weekday_map(drawn.records, ax=axes, week_offset_s=offset)


def _bursts(figure: Figure, low: float, height: float, drawn: Drawn) -> None:
    burst_plot(drawn.records, figure.add_axes((0.07, low, 0.92, min(height, 0.62))))


def _latencies(figure: Figure, low: float, height: float, drawn: Drawn) -> None:
    if not drawn.timed or drawn.records.finish_s is drawn.records.arrival_s:
        raise InputError("latencies", "", "a run in which nothing takes time", "a simulated one")
    latency_distribution(
        {"this setting": drawn.records.latency_s}, figure.add_axes((0.09, low, 0.89, height))
    )


VIEWS: dict[str, Callable[[Figure, float, float, Drawn], None]] = {
    "In VRAM when": _timeline,
    "Weekday by hour": _week,
    "Bursts and the rest": _bursts,
    "Latencies": _latencies,
}


def paint(figure: Figure, view: str, drawn: Drawn) -> None:
    """Draw a view, under a title that says the memory; what cannot be drawn says why in its place."""
    figure.clear()
    height_in = figure.get_size_inches()[1]
    top, low = 1 - 0.56 / height_in, 0.46 / height_in
    try:
        VIEWS[view](figure, low, top - low, drawn)
    except InputError as error:
        figure.clear()
        text = f"{error.key or error.source}: {error.found}; it takes {error.expected}"
        figure.text(0.5, 0.5, text, ha="center", fontsize=10)
    title = f"{view}  ·  {memory_text(drawn.config)}"
    figure.text(0.008, 1 - 0.22 / height_in, title, fontsize=9.5, fontweight="bold")
