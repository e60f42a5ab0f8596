"""Sliders and choices for the settings of one configuration, and back from them to a configuration.

One rule for memory: the zones add up to the card less what was set aside for other things when the explorer
was opened. So the last zone has no slider; it takes what the others leave.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from html import escape
from typing import Any

import ipywidgets as widgets
import yaml

from vramlab.allocator.policies.registry import PRESETS, policy_names
from vramlab.config.errors import InputError, nearest
from vramlab.config.loading import with_overrides
from vramlab.config.schema import VramConfig
from vramlab.engine.orders import order_names
from vramlab.servers import server_names
from vramlab.widgets.own import label_of
from vramlab.widgets.texts import bold_line, time_text

_WEIGHTS = ("priority", "frequency", "recency", "size", "cost")
_ADMISSIONS = ["always", "free_only", "compete"]
_BOUNDS_S = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
_RETENTIONS_S = (0, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600)
_POLICY, _ORDER = "scoring.policy", "serving.order"
_THRESHOLD = "optimization.preload_prediction_threshold"

_WIDE = {"description_width": "88px"}


def _row() -> widgets.Layout:
    return widgets.Layout(width="100%", margin="1px 0", min_height="28px")


class Controls(widgets.HBox):
    """Three columns of controls.

    Parameters
    ----------
    config : VramConfig
        Settings to begin with; those that have no control stay as they are.
    changed : callable
        Called after a control was moved.
    policies, orders : iterable of str
        Names of one's own, to choose among beside ours.
    """

    def __init__(
        self,
        config: VramConfig,
        changed: Callable[[], object],
        policies: Iterable[str] = (),
        orders: Iterable[str] = (),
    ) -> None:
        self.base = config
        self._own = {_POLICY: list(policies), _ORDER: list(orders)}
        self._changed = changed
        self._moving = False
        self.by_key: dict[str, Any] = {}
        *_, self.last_zone = config.zones
        zones_mb = sum(zone.size_mb for zone in config.zones.values())
        self._aside_mb = config.total_memory_mb - zones_mb
        columns = [
            self._column("Score: exponents", self._scoring()),
            self._column("Memory, MB", [*self._sizes(zones_mb), self._rule_line()]),
            self._column(
                "Rules: who is let in", [*self._rules(), *self._order(), *self._threshold(), self._server()]
            ),
        ]
        super().__init__(
            columns,
            layout=widgets.Layout(
                width="100%", flex_flow="row wrap", align_items="flex-start", grid_gap="0 20px"
            ),
        )
        self._start = {key: control.value for key, control in self.by_key.items()}
        self._follow_policy(keep=True)
        self._follow_sizes()
        for control in self.by_key.values():
            control.observe(self._moved, "value")

    # -- from and to settings ----------------------------------------------------------------------------

    def config(self) -> VramConfig:
        """Return the settings as the controls stand.

        Raises
        ------
        InputError
            If they do not go together.
        """
        left_mb = self.left_mb()
        if left_mb <= 0:
            raise InputError(
                "zones",
                f"zones.{self.last_zone}.size_mb",
                f"{left_mb:g} MB left for it",
                f"zones that add up to {self._zones_mb():g} MB with something left for {self.last_zone}",
            )
        values = {key: control.value for key, control in self.by_key.items()}
        values[f"zones.{self.last_zone}.size_mb"] = left_mb
        policy = values[_POLICY]
        for name in _WEIGHTS:  # what the preset says needs no saying, and other policies have no weights
            key = f"scoring.weights.{name}"
            if policy not in PRESETS or values[key] == getattr(PRESETS[policy], name):
                values[key] = None
        return with_overrides(self.base, [f"{key}={json.dumps(value)}" for key, value in values.items()])

    def set(self, overrides: Iterable[str]) -> None:
        """Move controls, without calling `changed`.

        Parameters
        ----------
        overrides : iterable of str
            ``dotted.key=value``, as for ``--set``. A policy resets the exponents to its own; exponents that
            are named in the same call count after it, wherever they stand.

        Raises
        ------
        InputError
            For a setting without a control, or a value that the control cannot take.
        """
        pairs = [self._parsed(override) for override in overrides]
        before = {key: control.value for key, control in self.by_key.items()}
        self._moving = True
        try:
            for key, value in sorted(pairs, key=lambda pair: pair[0] not in (_POLICY, "total_memory_mb")):
                self._put(key, value)
                if key == _POLICY:
                    self._follow_policy()
                elif key == "total_memory_mb":
                    self._follow_sizes()
            self._follow_sizes()
        except InputError:
            self._restore(before)
            raise
        finally:
            self._moving = False

    def _parsed(self, override: str) -> tuple[str, Any]:
        key, separator, text = override.partition("=")
        key = key.strip().removeprefix("vram_management.")
        if not separator:
            raise InputError("set", override, "no value", "KEY=VALUE")
        if key == f"zones.{self.last_zone}.size_mb":
            raise InputError("set", key, text, "another zone's size: this one takes what the others leave")
        if key not in self.by_key:
            raise InputError("set", key, "no control", f"a setting with one{nearest(key, self.by_key)}")
        return key, yaml.safe_load(text)

    def _put(self, key: str, value: Any) -> None:
        control = self.by_key[key]
        if isinstance(control, widgets.FloatSlider):
            if not isinstance(value, int | float) or not control.min <= value <= control.max:
                raise InputError("set", key, repr(value), f"a number from {control.min:g} to {control.max:g}")
        else:
            known = [option[1] if isinstance(option, tuple) else option for option in control.options]
            if value not in known:
                raise InputError("set", key, repr(value), f"one of {', '.join(map(str, known))}")
        control.value = value

    def offer(self, key: str, name: str) -> None:
        """Let a policy or an order of one's own be chosen, without choosing it."""
        control = self.by_key[key]
        if name not in [value for _, value in control.options]:
            self._moving = True
            try:
                before = control.value
                control.options = (*control.options, (label_of(name), name))
                control.value = before
            finally:
                self._moving = False

    def reset(self) -> None:
        """Put all controls back, without calling `changed`."""
        self._moving = True
        try:
            self._restore(self._start)
        finally:
            self._moving = False

    def _restore(self, values: dict[str, Any]) -> None:
        self.by_key["total_memory_mb"].value = values["total_memory_mb"]
        self._follow_sizes()  # which sets the range of the others
        for key, value in values.items():
            self.by_key[key].value = value
        self._follow_policy(keep=True)
        self._follow_sizes()

    # -- the controls ------------------------------------------------------------------------------------

    def _column(self, heading: str, rows: list[widgets.Widget]) -> widgets.VBox:
        return widgets.VBox(
            [bold_line(heading), *rows],
            layout=widgets.Layout(flex="1 1 240px", max_width="420px", overflow="hidden"),
        )

    def _scoring(self) -> list[widgets.Widget]:
        scoring = self.base.scoring
        options = _options([*policy_names(), scoring.policy, *self._own[_POLICY]])
        policy = widgets.Dropdown(
            options=options, value=scoring.policy, description="policy", style=_WIDE, layout=_row()
        )
        self.by_key[_POLICY] = policy
        given = PRESETS.get(scoring.policy, PRESETS["seed_fixed"]).overridden(scoring.weights)
        for name in _WEIGHTS:
            value = getattr(given, name)
            self.by_key[f"scoring.weights.{name}"] = widgets.FloatSlider(
                value,
                min=min(-3.0, value),
                max=max(3.0, value),
                step=0.05,
                readout_format=".2f",
                description="load cost" if name == "cost" else name,
                continuous_update=False,
                style=_WIDE,
                layout=_row(),
            )
        return list(self.by_key.values())

    def _sizes(self, zones_mb: float) -> list[widgets.Widget]:
        step = 1.0 if zones_mb < 2000 else 16.0
        total = self.base.total_memory_mb
        rows = [
            self._size(
                "total_memory_mb", "card", total, self._aside_mb + step, self._aside_mb + 2 * zones_mb, step
            )
        ]
        for name, zone in list(self.base.zones.items())[:-1]:
            rows.append(self._size(f"zones.{name}.size_mb", name, zone.size_mb, step, zones_mb, step))
        return rows

    def _size(
        self, key: str, label: str, value: float, low: float, high: float, step: float
    ) -> widgets.FloatSlider:
        low = value - step * int((value - low) / step)  # the value stands on a step
        self.by_key[key] = widgets.FloatSlider(
            value,
            min=min(low, value),
            max=max(high, value),
            step=step,
            readout_format=",.0f" if value == int(value) else ",.1f",
            description=label,
            continuous_update=False,
            style=_WIDE,
            layout=_row(),
        )
        return self.by_key[key]

    def _rule_line(self) -> widgets.HTML:
        self._rule = widgets.HTML(layout=widgets.Layout(margin="2px 0", min_height="44px", width="100%"))
        return self._rule

    def _rules(self) -> list[widgets.Widget]:
        config = self.base
        self.by_key["admission"] = widgets.Dropdown(
            options=_ADMISSIONS, value=config.admission, description="admission", style=_WIDE, layout=_row()
        )
        self.by_key["admission_by_priority.low"] = widgets.Dropdown(
            options=[("as the others", None), *((name, name) for name in _ADMISSIONS)],
            value=config.admission_by_priority.low,
            description="low priority",
            style=_WIDE,
            layout=_row(),
        )
        rows = [
            self.by_key["admission"],
            self.by_key["admission_by_priority.low"],
            bold_line("Keep a model at least"),
        ]
        for name, zone in config.zones.items():
            if zone.eviction_policy == "never":
                continue
            times = sorted({*_RETENTIONS_S, zone.min_retention_time})
            key = f"zones.{name}.min_retention_time"
            self.by_key[key] = widgets.SelectionSlider(
                options=[(time_text(seconds), seconds) for seconds in times],
                value=zone.min_retention_time,
                description=name,
                continuous_update=False,
                style=_WIDE,
                layout=_row(),
            )
            rows.append(self.by_key[key])
        return rows

    def _order(self) -> list[widgets.Widget]:
        """Make the controls of who goes next, and for how long somebody may be passed over."""
        serving = self.base.serving
        self.by_key[_ORDER] = widgets.Dropdown(
            options=_options([*order_names(), serving.order, *self._own[_ORDER]]),
            value=serving.order,
            description="who is next",
            style=_WIDE,
            layout=_row(),
        )
        times = sorted({*_BOUNDS_S, serving.max_wait_s})
        self.by_key["serving.max_wait_s"] = widgets.SelectionSlider(
            options=[(time_text(seconds), seconds) for seconds in times],
            value=serving.max_wait_s,
            description="passed over",
            tooltip="Nobody is passed over for longer than this while it could be served",
            continuous_update=False,
            style=_WIDE,
            layout=_row(),
        )
        return [self.by_key[_ORDER], self.by_key["serving.max_wait_s"]]

    def _threshold(self) -> list[widgets.Widget]:
        """Make the control of preloading's threshold, where something predicts."""
        optimization = self.base.optimization
        if not optimization.predictor:
            return []
        self.by_key[_THRESHOLD] = widgets.FloatSlider(
            optimization.preload_prediction_threshold,
            min=0.0,
            max=1.0,
            step=0.01,
            description="preload from",
            continuous_update=False,
            style=_WIDE,
            layout=_row(),
        )
        return [self.by_key[_THRESHOLD]]

    def _server(self) -> widgets.Widget:
        """Make the control of whose rules hold: those above, or a model server's of today."""
        given = self.base.server
        names = dict.fromkeys([*server_names(), *([] if given is None else [given])])
        self.by_key["server"] = widgets.Dropdown(
            options=[("these settings", None), *((f"as {name}", name) for name in names)],
            value=given,
            description="served",
            tooltip="As a model server of today would: then nothing above counts but memory",
            style=_WIDE,
            layout=_row(),
        )
        return self.by_key["server"]

    # -- what follows from what --------------------------------------------------------------------------

    def _moved(self, change: Any) -> None:
        if self._moving:
            return
        self._moving = True
        try:
            if change["owner"] is self.by_key[_POLICY]:
                self._follow_policy()
            self._follow_sizes()
        finally:
            self._moving = False
        self._changed()

    def _follow_policy(self, keep: bool = False) -> None:
        """Show a preset's exponents, unless those that stand are to be kept; other policies have none."""
        policy = self.by_key[_POLICY].value
        for name in _WEIGHTS:
            slider = self.by_key[f"scoring.weights.{name}"]
            slider.disabled = policy not in PRESETS
            if policy in PRESETS and not keep:
                slider.value = getattr(PRESETS[policy], name)

    def _zones_mb(self) -> float:
        return round(float(self.by_key["total_memory_mb"].value) - self._aside_mb, 6)

    def left_mb(self) -> float:
        """Return what the other zones leave to the last one, MB."""
        others: list[float] = [
            self.by_key[f"zones.{name}.size_mb"].value for name in list(self.base.zones)[:-1]
        ]
        return round(self._zones_mb() - sum(others), 6)

    def _follow_sizes(self) -> None:
        zones_mb, left_mb = self._zones_mb(), self.left_mb()
        aside = f", the card less {self._aside_mb:g} MB" if self._aside_mb else ", the whole card"
        names = list(self.base.zones)
        for name in names[:-1]:
            slider = self.by_key[f"zones.{name}.size_mb"]
            slider.max = max(zones_mb, slider.value, slider.min)
        tone = "color:#C62828" if left_mb <= 0 else "color:inherit"
        what = "All zones" if len(names) > 1 else "The zone"
        verb = "add up to" if len(names) > 1 else "has"
        rest = f"<b style='{tone}'>{escape(self.last_zone)}: {left_mb:,g} MB</b>"
        rest += ", what the others leave" if len(names) > 1 else ""
        self._rule.value = (
            f"<div style='line-height:1.4'>{rest}<br>"
            f"<span style='color:#757575'>{what} {verb} {zones_mb:,g} MB{aside}.</span></div>"
        )


def _options(names: Iterable[str]) -> list[tuple[str, str]]:
    return [(label_of(name), name) for name in dict.fromkeys(names)]
