"""Fields for a trace, a policy and an order of one's own, folded up until somebody has one."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import ipywidgets as widgets

_WIDE = {"description_width": "88px"}


class OwnFields(widgets.Accordion):
    """A choice of traces, and a field with a button each for what is not there yet.

    Parameters
    ----------
    chosen : callable
        Told the name of a trace that was chosen.
    trace_given : callable
        Told the files of a trace and of its inventory, the latter None where it was left out.
    policy_given, order_given : callable
        Told a ``package.module:name``.
    """

    def __init__(
        self,
        chosen: Callable[[str], object],
        trace_given: Callable[[str, str | None], object],
        policy_given: Callable[[str], object],
        order_given: Callable[[str], object],
    ) -> None:
        self._chosen, self._naming = chosen, False
        self.trace_choice = widgets.Dropdown(description="trace", style=_WIDE)
        self.trace_path = _field("trace file", "mine.parquet")
        self.models_path = _field("inventory", "mine.yaml")
        self.policy, self.order = (
            _field("policy", "my_policies:smallest"),
            _field("order", "my_orders:newest"),
        )
        self.take_trace = _button(
            lambda: trace_given(self.trace_path.value.strip(), self.models_path.value.strip() or None)
        )
        self.take_policy = _button(lambda: policy_given(self.policy.value.strip()))
        self.take_order = _button(lambda: order_given(self.order.value.strip()))
        rows = [
            self.trace_choice,
            _row(self.trace_path, self.models_path, self.take_trace),
            _row(self.policy, self.take_policy),
            _row(self.order, self.take_order),
        ]
        super().__init__([widgets.VBox(rows)], titles=["A trace, a policy or an order of your own"])
        self.layout.margin = "6px 0 0 0"
        self.trace_choice.observe(lambda change: self._tell(change["new"]), "value")

    def name_traces(self, names: Iterable[str], chosen: str) -> None:
        """Let these traces be chosen, of which one is shown; nobody is told."""
        self._naming = True
        try:
            self.trace_choice.options = list(names)
            self.trace_choice.value = chosen
        finally:
            self._naming = False

    def _tell(self, name: str) -> None:
        if not self._naming:
            self._chosen(name)


def _field(what: str, example: str) -> widgets.Text:
    layout = widgets.Layout(flex="1 1 300px", max_width="560px")
    return widgets.Text(description=what, placeholder=example, style=_WIDE, layout=layout)


def _button(act: Callable[[], object]) -> widgets.Button:
    button = widgets.Button(description="Take", layout={"width": "auto"})
    button.on_click(lambda _: act())
    return button


def _row(*parts: widgets.Widget) -> widgets.HBox:
    return widgets.HBox(list(parts), layout={"flex_flow": "row wrap"})
