"""Write the tables of the guides that are generated: settings, policies, figures. A test holds them equal.

A table stands between ``<!-- NAME -->`` and ``<!-- /NAME -->``; all else on a page is written by hand.
"""

from __future__ import annotations

import re
from pathlib import Path

from vramlab.analysis.figures import FIGURES
from vramlab.cli.pages import choices_markdown
from vramlab.config.settings import MODELS, all_settings, markdown

GUIDES = Path(__file__).parents[1] / "notebooks" / "guides"


def figures_markdown() -> str:
    """All figures of a run: key, label, unit, which way is better."""
    rows = ["| key | in tables | counts | better |", "|---|---|---|---|"]
    for figure in FIGURES.values():
        name = figure.name or figure.label
        rows.append(f"| `{figure.key}` | {name} | {figure.unit} | {figure.better or '–'} |")
    return "\n".join(rows)


def tables() -> dict[str, dict[str, str]]:
    """Page to its tables by name."""
    known = all_settings()
    return {
        "settings.md": {
            "settings": markdown(setting for setting in known if not setting.key.startswith(MODELS)),
            "models": markdown(setting for setting in known if setting.key.startswith(MODELS)),
        },
        "policies.md": {"policies": choices_markdown()},
        "figures.md": {"figures": figures_markdown()},
    }


def filled(text: str, tables: dict[str, str]) -> str:
    """A page with its tables."""
    for name, table in tables.items():
        text, count = re.subn(
            rf"<!-- {name} -->\n.*?<!-- /{name} -->",
            lambda _, name=name, table=table: f"<!-- {name} -->\n{table}\n<!-- /{name} -->",
            text,
            flags=re.DOTALL,
        )
        assert count == 1, f"one place for the table {name}"
    return text


if __name__ == "__main__":
    for page, parts in tables().items():
        path = GUIDES / page
        path.write_text(filled(path.read_text(encoding="utf-8"), parts), encoding="utf-8")
