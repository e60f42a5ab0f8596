"""``PolicyExplorer``: what happens to hit rate, latency and residency if I move this slider?"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import ipywidgets as widgets
import pandas as pd

from vramlab.allocator.policies.registry import make_policy
from vramlab.config.errors import InputError
from vramlab.config.loading import write_config
from vramlab.config.schema import ScoringConfig, VramConfig
from vramlab.engine.orders import check_order
from vramlab.experiments.case import Case, ConfigLike, Mode, ModelsLike, TraceLike, resolve_case
from vramlab.experiments.replay import Replay, run
from vramlab.simulation.choosing import Times
from vramlab.traces.trace import Trace
from vramlab.widgets.changes import changes_html
from vramlab.widgets.controls import Controls
from vramlab.widgets.explorer_parts import Buttons, Pinned, Progress
from vramlab.widgets.figures import figures_table
from vramlab.widgets.latest import Latest
from vramlab.widgets.notice import Notice
from vramlab.widgets.own import Own, leaves_with_us, name_of
from vramlab.widgets.own_fields import OwnFields
from vramlab.widgets.picture import Picture
from vramlab.widgets.seen import Seen
from vramlab.widgets.views import Drawn, paint

# What takes longer than this is drawn without latencies first; with the drawing it makes half a second.
_AT_ONCE_S = 0.35
_REQUESTS_PER_S = 100_000.0  # until it has been measured on this machine
_SAID_EVERY_S = 0.2

Traces = TraceLike | Mapping[str, TraceLike]


class _Task(NamedTuple):
    """A setting to be replayed; of several only the one with the last number is shown."""

    number: int
    case: Case


class PolicyExplorer(widgets.VBox):
    """Sliders over one trace: the settings on top, the figures and who was in VRAM when below.

    Parameters
    ----------
    trace : Trace, Path, str, or mapping of str to these
        Requests, or their file; several, by name, to choose among.
    config, models
        Settings and inventory to begin with, or their files; see
        :func:`~vramlab.experiments.replay.replay`.
    mode : str
        ``simulate`` (with queues and latencies) or ``decide`` (the allocator alone).
    seed : int
        Of the replays.
    service_times : str, optional
        See :mod:`vramlab.simulation.choosing`; by default the inventory's, of a live run its own.
    most : int
        So many models are drawn, the most requested.
    export_to : Path or str
        Where the button writes the setting.
    policies, orders : sequence of str, function or class
        One's own, to choose among beside ours: ``package.module:name``, or the thing itself.

    Attributes
    ----------
    config : VramConfig
        The settings as they stand.

    Examples
    --------
    >>> explorer = PolicyExplorer("traces/synthetic_tight.csv.gz", "config/scenarios/tight.yaml")
    >>> explorer.set("scoring.policy=gdsf", "zones.high_priority.size_mb=92")
    >>> explorer.result.figures["hit_rate"]

    >>> def smallest_goes(model, now_s):
    ...     return model.bytes
    >>> PolicyExplorer("mine.parquet", "mine.yaml", "models.yaml", policies=[smallest_goes])
    """

    # Users call it by keyword, as `replay`.
    def __init__(
        self,
        trace: Traces,
        config: ConfigLike = None,
        models: ModelsLike = None,
        mode: Mode = "simulate",
        seed: int = 0,
        service_times: Times | None = None,
        most: int = 10,
        export_to: Path | str = "vram_config.yaml",
        policies: Sequence[Own] = (),
        orders: Sequence[Own] = (),
    ) -> None:
        self._traces = dict(trace) if isinstance(trace, Mapping) else {_title(trace): trace}
        first = next(iter(self._traces.values()))
        self._case = resolve_case(first, config, models, mode=mode, seed=seed, service_times=service_times)
        self.config, self._most = self._case.config, most
        self._result: Replay | None = None
        self._result_number = 0
        self._drawn: Drawn | None = None
        self._pinned: tuple[VramConfig, Replay] | None = None
        self._expected_s = len(self.trace) / _REQUESTS_PER_S if mode == "simulate" else 0.0
        self._wanted, self._said_s = 0, 0.0
        self._latest: Latest[_Task] = Latest(self._carry_out, self._say_progress)

        self.controls = Controls(
            self.config,
            self._refresh_safely,
            [name_of(policy, "policy") for policy in policies],
            [name_of(order, "order") for order in orders],
        )
        self.own = OwnFields(
            lambda title: self._safely(lambda: self._take(title)),
            lambda path, models: self._safely(lambda: self.take(path, models)),
            lambda name: self._safely(lambda: self.add_policy(name)),
            lambda name: self._safely(lambda: self.add_order(name)),
        )
        self.own.name_traces(self._traces, next(iter(self._traces)))
        acts = (self.pin, self.unpin, self._reset, self._export)
        self.buttons = Buttons(export_to, *[lambda act=act: self._safely(act) for act in acts])
        self.seen = Seen(self.trace.duration_s, lambda: self._safely(self._draw))
        self.table, self.changes = widgets.HTML(), widgets.HTML()
        self.table.layout = widgets.Layout(width="100%", min_height="104px", margin="4px 0 0 0")
        self.changes.layout = widgets.Layout(width="100%", min_height="24px", margin="0")
        self.notice, self.progress = Notice(), Progress(self.stop)
        self.picture = Picture(9.6, 1.15 + 0.27 * min(most, len(self.trace.model_names)))
        self.pinned = Pinned(self.picture.layout)
        super().__init__(
            [
                self.controls, self.own, self.buttons, self.notice, self.table, self.changes, self.seen,
                self.picture, self.pinned, self.progress,
            ],
            layout=widgets.Layout(width="100%", max_width="1280px"),
        )  # fmt: skip
        self._refresh()

    @property
    def trace(self) -> Trace:
        """The requests that are replayed."""
        return self._case.trace

    def __repr__(self) -> str:
        return f"PolicyExplorer({Path(self.trace.source).name}, {len(self.trace):,} requests)"

    # -- for programs ------------------------------------------------------------------------------------

    @property
    def result(self) -> Replay:
        """The replay of the settings as they stand; waits for it, or makes it if it was stopped."""
        self.wait()
        if self._result is None or self._result_number != self._wanted:
            self._carry_out(_Task(self._wanted, self._case.under(self.config)), safely=False)
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

    def take(self, trace: TraceLike, models: ModelsLike = None) -> PolicyExplorer:
        """Go on with another trace, and its inventory; what was pinned is of the trace before, and goes.

        Parameters
        ----------
        trace : Trace, Path or str
            Requests, or their file.
        models : dict of str to ModelSpec, Path or str, optional
            Their inventory; without it the one that is there.

        Raises
        ------
        InputError
            For bad files, and for a model that the inventory lacks.
        """
        title = _title(trace)
        before = dict(self._traces)
        self._traces[title] = trace
        try:
            self._take(title, models)
        except InputError:
            self._traces = before  # who cannot be had cannot be chosen
            raise
        return self

    def _take(self, title: str, models: ModelsLike = None) -> None:
        trace, case = self._traces[title], self._case
        if models is None:
            self._case = case.on(trace)
        else:
            other = resolve_case(trace, self.config, models, faults=case.faults)
            self._case = replace(case, trace=other.trace, inventory=other.inventory, profile=other.profile)
        self._drawn = self._pinned = None
        self.pinned.hide()
        self._expected_s = len(self.trace) / _REQUESTS_PER_S if self._case.mode == "simulate" else 0.0
        self.own.name_traces(self._traces, title)
        self.seen.begin(self.trace.duration_s)
        self._refresh()

    def add_policy(self, policy: Own) -> PolicyExplorer:
        """Take a policy of one's own among the choices, and choose it."""
        name = name_of(policy, "policy")
        make_policy(ScoringConfig(policy=name), "explorer")  # or say now what is wrong with it
        return self._add("scoring.policy", name)

    def add_order(self, order: Own) -> PolicyExplorer:
        """Take an order of one's own among the choices, and choose it."""
        name = name_of(order, "order")
        check_order(name, "explorer")
        return self._add("serving.order", name)

    def _add(self, key: str, name: str) -> PolicyExplorer:
        self.controls.offer(key, name)
        return self.set(f"{key}={name}")

    def pin(self) -> None:
        """Keep the setting as it stands, to compare the next ones with."""
        self._pinned = (self.config, self.result)
        self.pinned.show(self.picture.value)
        self._show_figures(self.result, timed=True)

    def unpin(self) -> None:
        """Compare with nothing."""
        self._pinned = None
        self.pinned.hide()
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
        target = Path(path or self.buttons.path.value)
        config, result = self.controls.config(), self.result
        figures = result.figures
        comment = (
            f"Exported from the explorer: {Path(self.trace.source).name}, {len(self.trace):,} requests.\n"
            f"Policy {figures['policy']}: hit rate {100 * figures['hit_rate']:.2f} %, "
            f"load cost {figures['load_cost_s']:,.1f} s ({figures['backend']})."
        )
        write_config(config, target, comment)
        return target

    def stop(self) -> None:
        """End the replay under way; what was shown before its latencies came stays."""
        if self._latest.busy:
            self._latest.stop()
            self.wait()
            self.progress.stop.disabled = True
            self.progress.say("stopped: what is shown knows no queues and no latencies")

    def wait(self) -> None:
        """Return when nothing is being replayed any more."""
        self._latest.wait()

    # -- buttons ---------------------------------------------------------------------------------------

    def _reset(self) -> None:
        self.controls.reset()
        self._refresh()

    def _export(self) -> None:
        target = self.export().resolve()
        ours = leaves_with_us([self.config.scoring.policy, self.config.serving.order])
        if ours:
            text = f"written to {target}; {' and '.join(ours)} must go into a module, for others to find"
        else:
            text = f"written to {target}, for vramlab replay --config"
        self.notice.done(text)

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
        self.config = self.controls.config()
        self._wanted += 1
        task = _Task(self._wanted, self._case.under(self.config))
        if self._expected_s <= _AT_ONCE_S and not self._latest.busy:
            self._show(task, self._replay(task))
            return
        self._latest.stop()  # what is under way is for a setting that is not there any more
        self._show(task, self._replay(task, preview=True), timed=False)
        self.progress.stop.disabled = False
        self._latest.ask(task)

    def _carry_out(self, task: _Task, safely: bool = True) -> None:
        """Replay a task, and show it."""
        if safely:
            self._safely(lambda: self._show(task, self._replay(task)))
        else:
            self._show(task, self._replay(task))

    def _say_progress(self, share: float) -> None:
        now_s = time.perf_counter()
        if now_s - self._said_s > _SAID_EVERY_S:
            self._said_s = now_s
            self.progress.say(f"simulating … {100 * share:.0f} %; what is shown knows no queues yet")

    def _replay(self, task: _Task, preview: bool = False) -> Replay:
        begin_s = time.perf_counter()
        mode: Mode = "decide" if preview else task.case.mode
        result = run(replace(task.case, mode=mode))
        if not preview:
            self._expected_s = time.perf_counter() - begin_s
        return result

    def _show(self, task: _Task, result: Replay, timed: bool = True) -> None:
        if task.number != self._wanted:  # a newer change has come meanwhile
            return
        begin_s = time.perf_counter()
        self._drawn = Drawn(result.records, task.case.config, self._most, self.seen.window_s(), timed)
        self._draw()
        drawing_s = time.perf_counter() - begin_s
        if timed:
            self._result, self._result_number = result, task.number
            self.progress.stop.disabled = True
        self._show_figures(result, timed)
        self.notice.clear()
        what = "simulated" if result.figures["mode"] == "simulate" else "decided (loads take no time)"
        took = f"in {result.figures['wall_s']:.2f} s, drawn in {drawing_s:.2f} s"
        self.progress.say(
            f"{len(task.case.trace):,} requests {what} {took}{'' if timed else '; simulating …'}"
        )

    def _draw(self) -> None:
        """Draw what was replayed last, as one wants to see it."""
        if self._drawn is not None:
            drawn = replace(self._drawn, window_s=self.seen.window_s())
            self.picture.draw(lambda figure: paint(figure, self.seen.view.value, drawn))

    def _show_figures(self, result: Replay, timed: bool) -> None:
        pinned = None if self._pinned is None else self._pinned[1].figures
        self.table.value = figures_table(result.figures, pinned, timed)
        self.changes.value = "" if self._pinned is None else changes_html(self._pinned[0], self.config)


def _title(trace: TraceLike) -> str:
    return Path(trace.source if isinstance(trace, Trace) else trace).name
