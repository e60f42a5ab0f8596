"""One line of a widget that says what went wrong, or what was done."""

from __future__ import annotations

from html import escape

import ipywidgets as widgets

from vramlab.config.errors import InputError

_LINE = "line-height:1.4;padding:1px 0;overflow-wrap:anywhere"


class Notice(widgets.HTML):
    """A line that keeps its place when it is empty, so that nothing jumps."""

    def __init__(self) -> None:
        super().__init__(layout=widgets.Layout(min_height="26px", width="100%", margin="0"))

    def error(self, error: BaseException) -> None:
        """Say what is wrong, in red: where, what was found and what was expected."""
        if isinstance(error, InputError):
            where = f"{error.source}: {error.key}" if error.key else error.source
            text = (
                f"<b>{escape(where)}</b>: found {escape(str(error.found))}, expected {escape(error.expected)}"
            )
        else:
            text = f"<b>{escape(type(error).__name__)}</b>: {escape(str(error))}"
        self.value = f'<div role="alert" style="{_LINE};color:#C62828">{text}</div>'

    def done(self, text: str) -> None:
        """Say what was done."""
        self.value = f'<div style="{_LINE};color:#00805E">{escape(text)}</div>'

    def clear(self) -> None:
        """Say nothing."""
        self.value = ""

    @property
    def is_error(self) -> bool:
        """Whether an error stands there."""
        return 'role="alert"' in self.value
