"""``policies``, ``settings``: what there is to choose, and what each choice does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from vramlab.allocator.policies.about import About, about_policy
from vramlab.allocator.policies.registry import POLICIES, policy_names
from vramlab.cli.inputs import JsonOption
from vramlab.cli.output import print_json
from vramlab.config.docstrings import docstring
from vramlab.config.settings import all_settings, settings_like
from vramlab.engine.orders import ARRIVAL, ORDERS, order_names
from vramlab.prediction.registry import PREDICTORS, predictor_names

_NAME = 11  # characters
_PLUGIN = "of an installed package"


class Choice(NamedTuple):
    """Something that a setting may name: kind, name, what it does, where it is from."""

    kind: str
    name: str
    line: str
    source: str


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("policies")(policies_command)
    app.command("settings")(settings_command)


def policies_command(as_json: JsonOption = False) -> None:
    """List eviction policies, orders of serving and predictors, one line each, with their sources.

    Example: vramlab policies
    """
    found = choices()
    if as_json:
        print_json([choice._asdict() for choice in found])
        return
    for kind, key in KINDS.items():
        print(f"{kind} ({key})")
        for choice in found:
            if choice.kind == kind:
                print(f"  {choice.name:<{_NAME}} {choice.line} [{choice.source}]")
    print("Your own: package.module:name in place of a name.")


def settings_command(
    key: Annotated[str, typer.Argument(help="A key, a part of one, or nothing for all.")] = "",
    as_json: JsonOption = False,
) -> None:
    """List the settings, with default and effect: keys below vram_management, and those of a model.

    Example: vramlab settings zones.flexible
    """
    found = settings_like(key) if key else list(all_settings())
    if as_json:
        print_json([setting._asdict() for setting in found])
        return
    for setting in found:
        unit = f" {setting.unit}" if setting.unit and setting.default != "null" else ""
        print(f"{setting.key}: {setting.default}{unit}  ({setting.values})")
        print(f"    {setting.effect}")


KINDS = {
    "eviction policies": "scoring.policy",
    "orders of serving": "serving.order",
    "predictors": "optimization.predictor",
}
"""What can be chosen by name, and the key that names it."""


def choices() -> list[Choice]:
    """All policies, orders and predictors, ours and those of installed packages."""
    policies, orders, predictors = KINDS
    found = []
    for name in policy_names():
        about = about_policy(name, POLICIES[name]) if name in POLICIES else About("", _PLUGIN)
        found.append(Choice(policies, name, *about))
    for name in order_names():
        line = _ARRIVAL if name == ARRIVAL else _first_line(ORDERS[name]) if name in ORDERS else ""
        source = "the specification" if name == ARRIVAL else "vramlab" if name in ORDERS else _PLUGIN
        found.append(Choice(orders, name, line, source))
    for name in predictor_names():
        own = PREDICTORS.get(name)
        found.append(Choice(predictors, name, _first_line(own) if own else "", "vramlab" if own else _PLUGIN))
    return found


_ARRIVAL = "Decided when a request comes: wait for the load, or go elsewhere."


def _first_line(thing: object) -> str:
    return docstring(thing).partition("\n")[0].replace("``", "`")


def choices_markdown(kinds: Sequence[str] = tuple(KINDS)) -> str:
    """The choices as tables in Markdown, those of installed packages left out."""
    parts = []
    for kind in kinds:
        rows = [f"| {kind} | what it does | source |", "|---|---|---|"]
        rows += [
            f"| `{name}` | {line} | {source} |"
            for of, name, line, source in choices()
            if of == kind and source != _PLUGIN
        ]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)
