"""Headings and texts of the controls."""

from __future__ import annotations

import ipywidgets as widgets


def bold_line(text: str) -> widgets.HTML:
    """A heading above some controls."""
    layout = widgets.Layout(margin="0", min_height="24px", width="100%")
    return widgets.HTML(f"<b>{text}</b>", layout=layout)


def time_text(seconds: float) -> str:
    """A time in the unit in which it reads well."""
    if seconds < 60:
        return f"{seconds:g} s"
    return f"{seconds / 60:g} min" if seconds < 3600 else f"{seconds / 3600:g} h"
