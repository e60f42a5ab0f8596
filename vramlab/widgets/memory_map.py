"""``MemoryMap``: scrub through a run and see where in their zones the models lay."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import numpy as np
from matplotlib.figure import Figure

from vramlab.analysis import style
from vramlab.analysis.layouts import memory_map
from vramlab.config.units import bytes_to_mib
from vramlab.experiments.case import ConfigLike, ModelsLike
from vramlab.widgets.memory_history import MemoryHistory, Moment, Run, memory_history, zones_html
from vramlab.widgets.notice import Notice
from vramlab.widgets.picture import Picture

_FRAMES_PER_PLAY = 300  # a run is played in about a minute, however long it was
_FRAME_MS = 250


class MemoryMap(widgets.VBox):
    """Zones as bars, models as blocks, holes hatched; what loads is pale, what leaves struck through.

    Parameters
    ----------
    run : RunFolder, Replay, sequence of Line, Path or str
        A recorded run or its folder; a replay that kept its journal; a journal or its file.
    config, models
        Settings and inventory of the run; a folder has its own.

    Attributes
    ----------
    history : MemoryHistory
        All maps of the run.

    Examples
    --------
    >>> MemoryMap("traces/recorded_tight")
    >>> MemoryMap(vramlab.replay(trace, scenario, journal=True), scenario)
    """

    def __init__(
        self,
        run: Run,
        config: ConfigLike = None,
        models: ModelsLike = None,
    ) -> None:
        self.history: MemoryHistory = memory_history(run, config, models)
        moments = self.history.moments
        last = len(moments) - 1
        self._times = np.array([moment.time_s for moment in moments])
        self._held = np.array([moment.held_bytes() for moment in moments])
        self.slider = widgets.IntSlider(
            0, 0, last, readout=False, continuous_update=False, layout=widgets.Layout(flex="1 1 300px")
        )
        self.play = widgets.Play(
            value=0, min=0, max=last, step=max(1, last // _FRAMES_PER_PLAY), interval=_FRAME_MS,
            show_repeat=False,
        )  # fmt: skip
        self._link = widgets.jslink((self.play, "value"), (self.slider, "value"))
        narrow = widgets.Layout(width="auto", margin="2px 0 2px 6px")
        self.back = widgets.Button(description="◂ eviction", layout=narrow, tooltip="Go to the last eviction")
        self.forward = widgets.Button(
            description="eviction ▸", layout=narrow, tooltip="Go to the next eviction"
        )
        self.back.on_click(lambda _: self._to_eviction(-1))
        self.forward.on_click(lambda _: self._to_eviction(1))
        self.caption = widgets.HTML(layout=widgets.Layout(min_height="48px", width="100%", margin="2px 0"))
        self.notice = Notice()
        zones = len(dict.fromkeys(block.zone for block in moments[0].layout))
        self._zones = zones
        self.picture = Picture(9.6, 2.0 + 0.5 * zones)
        self.table = widgets.HTML()
        super().__init__(
            [
                widgets.HBox([self.play, self.slider, self.back, self.forward], layout={"width": "100%"}),
                self.caption, self.picture, self.table, self.notice,
            ],
            layout=widgets.Layout(width="100%", max_width="1280px"),
        )  # fmt: skip
        self.slider.observe(self._scrubbed, "value")
        self._show()

    def __repr__(self) -> str:
        return f"MemoryMap({Path(self.history.source).name}, {len(self.history):,} maps)"

    @property
    def moment(self) -> Moment:
        """The moment that is shown."""
        return self.history.moments[int(self.slider.value)]

    def go_to(self, time_s: float) -> None:
        """Show the map as it was at `time_s`, in seconds since the start of the run."""
        self.slider.value = self.history.at(time_s)

    def _to_eviction(self, direction: int) -> None:
        at = self.slider.value
        found = [number for number in self.history.evictions() if (number - at) * direction > 0]
        if found:
            self.slider.value = found[0] if direction > 0 else found[-1]

    def _scrubbed(self, _: Any) -> None:
        try:
            self._show()
        except Exception as error:  # for the one who looks at the widget
            self.notice.error(error)

    def _show(self) -> None:
        moment, number = self.moment, self.slider.value
        self.picture.draw(lambda figure: self._paint(figure, moment))
        happened = "; ".join(moment.events)
        held_mb = bytes_to_mib(self._held[number])
        budget_mb = bytes_to_mib(self.history.budget_bytes)
        self.caption.value = (
            f"<div style='line-height:1.5'><b>{moment.time_s:,.3f} s</b> · "
            f"map {number + 1:,} of {len(self.history):,} · {held_mb:,.0f} of {budget_mb:,.0f} MB held<br>"
            f"<span style='color:#757575'>{escape(happened)}</span></div>"
        )
        self.table.value = zones_html(moment)

    def _paint(self, figure: Figure, moment: Moment) -> None:
        figure.clear()
        height_in = figure.get_size_inches()[1]
        strip_in, gap_in, foot_in = 0.55, 0.62, 0.42
        low = (foot_in + strip_in + gap_in) / height_in
        above = figure.add_axes((0.11, low, 0.87, 1 - low - 0.06 / height_in))
        memory_map(moment.frame(), above, models=self.history.models)
        strip = figure.add_axes((0.11, foot_in / height_in, 0.87, strip_in / height_in))
        self._paint_strip(strip, moment)
        for axes in (above, strip):
            axes.tick_params(labelsize=8.5)
            axes.xaxis.label.set_fontsize(8.5)

    def _paint_strip(self, axes: Any, moment: Moment) -> None:
        """Paint the bytes held over the whole run, evictions, and where we are."""
        style.axes(axes)
        start, end = float(self._times[0]), float(self._times[-1])
        per, per_name = style.time_unit(max(end - start, 1e-3))
        unit, unit_name = style.bytes_unit(self.history.budget_bytes)
        x = (self._times - start) / per
        axes.fill_between(x, self._held / unit, step="post", color=style.PALETTE[4], alpha=0.6, linewidth=0)
        gone = x[self.history.evictions()]
        top = self.history.budget_bytes / unit
        axes.plot(
            gone, np.full(len(gone), 1.08 * top), linestyle="", marker="x", markersize=3.5,
            color=style.OPTIMUM, markeredgewidth=0.8, clip_on=False,
        )  # fmt: skip
        axes.axvline((moment.time_s - start) / per, color=style.INK, linewidth=1.4)
        axes.set_xlim(0, max(x[-1], 1e-9))
        axes.set_ylim(0, 1.16 * top)
        axes.set_yticks([0, top], ["0", f"{top:,.0f} {unit_name}"])
        axes.set_xlabel(f"Time since the first load ({per_name}); held in blue, evictions ×")
