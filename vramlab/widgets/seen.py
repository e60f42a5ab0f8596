"""Which picture of a replay is seen, and which part of the run; neither replays anything."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as widgets

from vramlab.analysis import style
from vramlab.widgets.views import VIEWS

_STEPS = 500


class Seen(widgets.HBox):
    """Buttons for the views, and a slider over the time of the run.

    Parameters
    ----------
    duration_s : float
        Of the run, seconds.
    changed : callable
        Called after one of them was moved.
    """

    def __init__(self, duration_s: float, changed: Callable[[], object]) -> None:
        self.view = widgets.ToggleButtons(options=list(VIEWS), style={"button_width": "auto"})
        self.window = widgets.FloatRangeSlider(
            value=(0, 1), min=0, max=1, continuous_update=False, readout_format=".2f",
            style={"description_width": "initial"}, layout={"flex": "1 1 320px", "max_width": "620px"},
        )  # fmt: skip
        super().__init__([self.view, self.window], layout={"flex_flow": "row wrap", "grid_gap": "0 16px"})
        self.begin(duration_s)
        self.view.observe(lambda _: changed(), "value")
        self.window.observe(lambda _: changed(), "value")

    def begin(self, duration_s: float) -> None:
        """See the whole of a run of this length, in units in which that reads well."""
        self._duration_s = duration_s
        self._unit_s, name = style.time_unit(max(duration_s, 1e-3))
        length = max(duration_s / self._unit_s, 1e-6)
        self.window.description = f"from, to ({name})"
        self.window.max = max(length, self.window.max)  # a range first, then the values in it
        self.window.value = (0, length)
        self.window.max, self.window.step = length, length / _STEPS

    def window_s(self) -> tuple[float, float]:
        """What is seen, in seconds since the first request: a step at least."""
        first, last = self.window.value
        last = max(last, first + self.window.step)
        whole = last >= self.window.max - self.window.step / 2
        end_s = max(self._duration_s if whole else last * self._unit_s, 1e-6)
        return min(first * self._unit_s, 0.999 * end_s), end_s
