"""Rows of the explorer that decide nothing: its buttons, the pinned picture, and how far a replay is."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from pathlib import Path

import ipywidgets as widgets


class Buttons(widgets.HBox):
    """Pin, unpin, reset and export, and the path to export to.

    Parameters
    ----------
    export_to : Path or str
        What the path begins as.
    pin, unpin, reset, export : callable
        What the buttons do.
    """

    def __init__(
        self,
        export_to: Path | str,
        pin: Callable[[], object],
        unpin: Callable[[], object],
        reset: Callable[[], object],
        export: Callable[[], object],
    ) -> None:
        self.pin = _button("Pin this setting", pin, icon="thumb-tack")
        self.unpin = _button("Unpin", unpin)
        self.reset = _button("Reset", reset, icon="undo")
        self.export = _button("Export as YAML", export, icon="download", button_style="primary")
        self.path = widgets.Text(
            str(export_to), description="to", style={"description_width": "20px"},
            layout=widgets.Layout(flex="1 1 200px", max_width="460px"),
        )  # fmt: skip
        super().__init__(
            [self.pin, self.unpin, self.reset, self.export, self.path],
            layout=widgets.Layout(width="100%", flex_flow="row wrap", margin="6px 0 0 0"),
        )


class Pinned(widgets.VBox):
    """The picture of the pinned setting; hidden where there is none."""

    def __init__(self, layout: widgets.Layout) -> None:
        self.picture = widgets.Image(format="png", layout=layout)
        super().__init__([widgets.HTML("<b>Pinned</b>"), self.picture])
        self.layout = widgets.Layout(display="none", width="100%")

    def show(self, png: bytes) -> None:
        """Show a picture."""
        self.picture.value = png
        self.layout.display = ""

    def hide(self) -> None:
        """Show none."""
        self.layout.display = "none"


class Progress(widgets.HBox):
    """A button that ends the replay under way, and a line that says how far it is, or how long it took."""

    def __init__(self, stop: Callable[[], object]) -> None:
        self.stop = _button("Stop", stop, icon="stop", disabled=True)
        self.stop.tooltip = "End the replay under way; a new setting ends it too"
        self.line = widgets.HTML(layout=widgets.Layout(margin="0", min_height="24px", flex="1 1 auto"))
        super().__init__([self.stop, self.line], layout=widgets.Layout(align_items="center"))

    def say(self, text: str) -> None:
        """Say where it is."""
        self.line.value = f"<span style='color:#757575'>{escape(text)}</span>"


def _button(text: str, act: Callable[[], object], **look: object) -> widgets.Button:
    layout = widgets.Layout(width="auto", margin="2px 6px 2px 0")
    button = widgets.Button(description=text, layout=layout, **look)
    button.on_click(lambda _: act())
    return button
