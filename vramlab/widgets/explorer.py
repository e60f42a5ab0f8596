"""``PolicyExplorer``: what happens to hit rate, latency and residency if I move this slider?"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
import pandas as pd
from matplotlib.figure import Figure

from vramlab.analysis.timelines import residency_timeline
from vramlab.config.differences import config_differences
from vramlab.config.errors import InputError
from vramlab.config.loading import write_config
from vramlab.config.schema import VramConfig
from vramlab.experiments.case import ConfigLike, Mode, ModelsLike, TraceLike, resolve_case
from vramlab.experiments.replay import Replay, run
from vramlab.simulation.choosing import Times
from vramlab.widgets.controls import Controls
from vramlab.widgets.figures import figures_table
from vramlab.widgets.notice import Notice
from vramlab.widgets.picture import Picture

# What takes longer than this is drawn without latencies first; with the drawing it makes half a second.
_AT_ONCE_S = 0.35
_REQUESTS_PER_S = 100_000.0  # until it has been measured on this machine


class PolicyExplorer(widgets.VBox):
    """Sliders over one trace: the settings on top, the figures and who was in VRAM when below.

    Parameters
    ----------
    trace : Trace, Path or str
        Requests, or their file.
    config, models
        Settings and inventory to begin with, or their files; see
        :func:`~vramlab.experiments.replay.replay`.
    mode : str
        ``simulate`` (with queues and latencies) or ``decide`` (the allocator alone).
    seed : int
        Of the replays.
    service_times : str
        See :mod:`vramlab.simulation.choosing`.
    most : int
        So many models are drawn, the most requested.
    export_to : Path or str
        Where the button writes the setting.

    Attributes
    ----------
    config : VramConfig
        The settings as they stand.

    Examples
    --------
    >>> explorer = PolicyExplorer("traces/synthetic_tight.csv.gz", "config/scenarios/tight.yaml")
    >>> explorer.set("scoring.policy=gdsf", "zones.high_priority.size_mb=92")
    >>> explorer.result.figures["hit_rate"]
    """

    # Users call it by keyword, as `replay`.
    def __init__(
        self,
        trace: TraceLike,
        config: ConfigLike = None,
        models: ModelsLike = None,
        mode: Mode = "simulate",
        seed: int = 0,
        service_times: Times = "spec",
        most: int = 10,
        export_to: Path | str = "vram_config.yaml",
    ) -> None:
        case = resolve_case(trace, config, models, mode=mode, seed=seed, service_times=service_times)
        self._case, self._most = case, most
        self.trace, self.config = case.trace, case.config
        self._result: Replay | None = None
        self._pinned: tuple[VramConfig, Replay] | None = None
        self._expected_s = len(self.trace) / _REQUESTS_PER_S if mode == "simulate" else 0.0
        # Of the changes that come while a long replay runs, only the last is replayed after it.
        self._turn = threading.Condition()
        self._wanted = 0
        self._waiting: tuple[int, VramConfig] | None = None
        self._worker: threading.Thread | None = None

        self.controls = Controls(self.config, self._refresh_safely)
        self.table, self.changes = widgets.HTML(), widgets.HTML()
        self.table.layout = widgets.Layout(width="100%", min_height="104px", margin="4px 0 0 0")
        self.changes.layout = widgets.Layout(width="100%", min_height="24px", margin="0")
        self.notice = Notice()
        rows = min(most, len(self.trace.model_names))
        self.picture = Picture(9.6, 0.85 + 0.25 * rows)
        self.timing = widgets.HTML(layout=widgets.Layout(margin="0", min_height="24px"))
        self._pinned_title = widgets.HTML("<b>Pinned</b>")
        self.pinned_picture = widgets.Image(format="png", layout=self.picture.layout)
        self._pinned_box = widgets.VBox([self._pinned_title, self.pinned_picture])
        self._pinned_box.layout = widgets.Layout(display="none", width="100%")
        super().__init__(
            [
                self.controls, self._buttons(export_to), self.notice, self.table, self.changes, self.picture,
                self._pinned_box, self.timing,
            ],
            layout=widgets.Layout(width="100%", max_width="1280px"),
        )  # fmt: skip
        self._refresh()

    def __repr__(self) -> str:
        return f"PolicyExplorer({Path(self.trace.source).name}, {len(self.trace):,} requests)"

    # -- for programs ------------------------------------------------------------------------------------

    @property
    def result(self) -> Replay:
        """The replay of the settings as they stand; waits for it."""
        self.wait()
        assert self._result is not None
        return self._result

    def set(self, *overrides: str) -> PolicyExplorer:
        """Move sliders as one would by hand: ``dotted.key=value``, as for ``--set``.

        Raises
        ------
        InputError
            For a setting without a slider, a value that it cannot take, and settings that do not go together.
        """
        try:
            self.controls.set(overrides)
            self._refresh()
        except InputError as error:
            self.notice.error(error)
            raise
        return self

    def pin(self) -> None:
        """Keep the setting as it stands, to compare the next ones with."""
        self._pinned = (self.config, self.result)
        self.pinned_picture.value = self.picture.value
        self._pinned_box.layout.display = ""
        self._show_figures(self.result, timed=True)

    def unpin(self) -> None:
        """Compare with nothing."""
        self._pinned = None
        self._pinned_box.layout.display = "none"
        self._show_figures(self.result, timed=True)

    def comparison(self) -> pd.DataFrame:
        """The settings as they stand and the pinned ones: one row each, figures as of a replay."""
        rows = {"this setting": self.result.frame()}
        if self._pinned is not None:
            rows["pinned"] = self._pinned[1].frame()
        return pd.concat(rows, names=["setting", None]).droplevel(1)

    def export(self, path: Path | str | None = None) -> Path:
        """Write the settings as they stand as a complete configuration file.

        Parameters
        ----------
        path : Path or str, optional
            By default what stands in the field beside the button.

        Raises
        ------
        InputError
            If it cannot be written, or the controls stand at settings that do not go together.
        """
        target = Path(path or self.path.value)
        config, result = self.controls.config(), self.result
        figures = result.figures
        comment = (
            f"Exported from the explorer: {Path(self.trace.source).name}, {len(self.trace):,} requests.\n"
            f"Policy {figures['policy']}: hit rate {100 * figures['hit_rate']:.2f} %, "
            f"load cost {figures['load_cost_s']:,.1f} s ({figures['backend']})."
        )
        write_config(config, target, comment)
        return target

    def wait(self) -> None:
        """Return when nothing is being replayed any more."""
        worker = self._worker
        if worker is not None and worker is not threading.current_thread():
            worker.join()

    # -- buttons -----------------------------------------------------------------------------------------

    def _buttons(self, export_to: Path | str) -> widgets.HBox:
        wide = widgets.Layout(width="auto", margin="2px 6px 2px 0")
        self.pin_button = widgets.Button(description="Pin this setting", icon="thumb-tack", layout=wide)
        self.unpin_button = widgets.Button(description="Unpin", layout=wide)
        self.reset_button = widgets.Button(description="Reset", icon="undo", layout=wide)
        self.export_button = widgets.Button(
            description="Export as YAML", icon="download", button_style="primary", layout=wide
        )
        self.path = widgets.Text(
            str(export_to), description="to", style={"description_width": "20px"},
            layout=widgets.Layout(flex="1 1 200px", max_width="460px"),
        )  # fmt: skip
        for button, act in (
            (self.pin_button, self.pin),
            (self.unpin_button, self.unpin),
            (self.reset_button, self._reset),
            (self.export_button, self._export),
        ):
            button.on_click(lambda _, act=act: self._safely(act))
        return widgets.HBox(
            [self.pin_button, self.unpin_button, self.reset_button, self.export_button, self.path],
            layout=widgets.Layout(width="100%", flex_flow="row wrap", margin="6px 0 0 0"),
        )

    def _reset(self) -> None:
        self.controls.reset()
        self._refresh()

    def _export(self) -> None:
        target = self.export().resolve()
        self.notice.done(f"written to {target}, for vramlab replay --config")

    def _safely(self, act: Any) -> None:
        """What goes wrong in a callback is for the one who looks at the widget, not for a server's log."""
        try:
            act()
        except Exception as error:
            self.notice.error(error)

    # -- replaying and drawing ---------------------------------------------------------------------------

    def _refresh_safely(self) -> None:
        self._safely(self._refresh)

    def _refresh(self) -> None:
        """Replay the settings as they stand; where it takes too long, show them without latencies first."""
        config = self.controls.config()
        self.config = config
        with self._turn:
            self._wanted += 1
            number = self._wanted
        if self._expected_s <= _AT_ONCE_S and not self._busy:
            self._show(number, config, self._replay(config))
            return
        self._show(number, config, self._replay(config, preview=True), timed=False)
        with self._turn:
            self._waiting = (number, config)
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="vramlab-explorer", daemon=True)
                self._worker.start()

    @property
    def _busy(self) -> bool:
        return self._worker is not None

    def _work(self) -> None:
        """Replay what was asked for last, until nothing is asked for."""
        for number, config in self._tasks():
            self._safely(lambda: self._show(number, config, self._replay(config)))  # noqa: B023 (called at once)

    def _tasks(self) -> Iterator[tuple[int, VramConfig]]:
        while True:
            with self._turn:
                task, self._waiting = self._waiting, None
                if task is None:
                    self._worker = None
                    return
            yield task

    def _replay(self, config: VramConfig, preview: bool = False) -> Replay:
        begin_s = time.perf_counter()
        mode: Mode = "decide" if preview else self._case.mode
        result = run(replace(self._case.under(config), mode=mode))
        if not preview:
            self._expected_s = time.perf_counter() - begin_s
        return result

    def _show(self, number: int, config: VramConfig, result: Replay, timed: bool = True) -> None:
        if number != self._wanted:  # a newer change has come meanwhile
            return
        begin_s = time.perf_counter()
        self.picture.draw(lambda figure: self._paint(figure, result))
        drawing_s = time.perf_counter() - begin_s
        if timed:
            self._result = result
        self._show_figures(result, timed)
        self.notice.clear()
        what = "simulated" if result.figures["mode"] == "simulate" else "decided (loads take no time)"
        took = f"in {result.figures['wall_s']:.2f} s, drawn in {drawing_s:.2f} s"
        text = f"{len(self.trace):,} requests {what} {took}"
        self.timing.value = f"<span style='color:#757575'>{text}{'' if timed else '; simulating …'}</span>"

    def _paint(self, figure: Figure, result: Replay) -> None:
        figure.clear()
        height_in = figure.get_size_inches()[1]
        low, high = 0.46 / height_in, 1 - 0.3 / height_in
        axes = figure.add_axes((0.185, low, 0.805, high - low))
        residency_timeline(result.records, axes, most=self._most, legend_above=True)
        axes.set_yticks(axes.get_yticks(), [_short(text.get_text()) for text in axes.get_yticklabels()])
        axes.tick_params(labelsize=8.5)
        axes.xaxis.label.set_fontsize(9)
        figure.text(0.008, high + 0.06 / height_in, "In VRAM when", fontsize=9.5, fontweight="bold")

    def _show_figures(self, result: Replay, timed: bool) -> None:
        pinned = None if self._pinned is None else self._pinned[1].figures
        self.table.value = figures_table(result.figures, pinned, timed)
        self.changes.value = "" if self._pinned is None else _changes(self._pinned[0], self.config)


def _changes(pinned: VramConfig, config: VramConfig) -> str:
    """Which settings differ from the pinned ones, as HTML."""
    differing = [
        f"{escape(key)} <b>{escape(_value(old))} → {escape(_value(new))}</b>"
        for key, old, new in config_differences(pinned, config)
    ]
    text = "Changed since pinned: " + ", ".join(differing) if differing else "The pinned setting."
    return f"<div style='line-height:1.4;overflow-wrap:anywhere'>{text}</div>"


def _value(value: Any) -> str:
    if value is None:
        return "(default)"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _short(name: str, most: int = 24) -> str:
    """A model's name that fits beside the axes."""
    name = name.removesuffix(".onnx")
    return name if len(name) <= most else f"{name[: most - 1]}…"
