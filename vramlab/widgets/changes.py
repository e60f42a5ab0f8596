"""Which settings differ from the pinned ones, as a line of HTML."""

from __future__ import annotations

from html import escape
from typing import Any

from vramlab.config.differences import config_differences
from vramlab.config.schema import VramConfig


def changes_html(pinned: VramConfig, config: VramConfig) -> str:
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
