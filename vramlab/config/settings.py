"""All settings as a table: key, values, unit, default, effect; read from the schema, so that it cannot drift.

An effect is the docstring under its field. Those are read from the source when somebody asks for the table,
not when the schema is imported: that would cost each start of the program a tenth of a second.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, get_args

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from vramlab.config.errors import InputError, nearest
from vramlab.config.fields import LARGEST, Section
from vramlab.config.models import ModelSpec
from vramlab.config.schema import ZONE_DEFAULTS, VramConfig

MODELS = "models.GROUP.NAME"
"""Where the keys of a model stand in the inventory's file."""

_UNITS = {"_mb": "MB", "_ms": "ms", "_s": "s"}


class Setting(NamedTuple):
    """One key of the configuration below ``vram_management``, or of a model in the inventory.

    ``NAME`` in a key stands for a name of one's own; ``zones.NAME`` has a default per zone of the
    specification.
    """

    key: str
    values: str
    unit: str
    default: str
    effect: str


@cache
def all_settings() -> tuple[Setting, ...]:
    """All settings, those of the configuration first, in the order of the schema."""
    return (*_section(VramConfig, ""), *_section(ModelSpec, f"{MODELS}."))


def settings_like(key: str) -> list[Setting]:
    """The settings under a dotted key, or that have this text in their key.

    A zone's or group's own name may stand for ``NAME``.

    Raises
    ------
    InputError
        If there is none, with the nearest.
    """
    asked = key.strip().removeprefix("vram_management.")
    known = all_settings()
    parts = asked.split(".")
    exact = [setting for setting in known if _under(setting.key.split("."), parts)]
    found = exact or [setting for setting in known if asked and asked in setting.key]
    if not found:
        names = [setting.key for setting in known]
        raise InputError("settings", "", repr(key), f"a key of the configuration{nearest(asked, names)}")
    return found


def _under(known: list[str], asked: list[str]) -> bool:
    return len(asked) <= len(known) and all(
        ours in (theirs, "NAME", "GROUP") for ours, theirs in zip(known, asked, strict=False)
    )


def _section(section: type[Section], prefix: str) -> Iterator[Setting]:
    effects = _docstrings(section)
    properties = section.model_json_schema()["properties"]
    for name, field in section.model_fields.items():
        inner, named = _sections_in(field)
        key = f"{prefix}{name}"
        if inner is not None:
            yield from _section(inner, f"{key}.NAME." if named else f"{key}.")
            continue
        if name not in effects:
            raise InputError("schema", key, "no docstring under the field", "what it does")
        yield Setting(
            key, _values(properties[name]), _unit(name, effects[name]), _default(key, field), effects[name]
        )


def _sections_in(field: FieldInfo) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, and whether it holds several by name."""
    kind = field.annotation
    if inspect.isclass(kind) and issubclass(kind, Section):
        return kind, False
    for inner in get_args(kind):
        if inspect.isclass(inner) and issubclass(inner, Section) and kind is not None:
            return inner, True
    return None, False


def _docstrings(section: type[Section]) -> dict[str, str]:
    """What stands under each field of a section, as one line."""
    (found,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(found, ast.ClassDef)
    texts = {}
    for field, below in zip(found.body, found.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            texts[field.target.id] = _plain(str(below.value.value))
    return texts


def _plain(text: str) -> str:
    """A docstring as one line, without the roles of links."""
    return re.sub(r":\w+:`~?([\w.]+)`", r"`\1`", " ".join(text.split()))


def _values(schema: dict[str, Any]) -> str:
    """What a key may be, in words."""
    if "anyOf" in schema:
        return " or ".join(_values(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return "critical, high, medium or low" if name == "Priority" else "see there"
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return _numbers(schema, "number" if kind == "number" else "whole number")
    words = {"boolean": "true or false", "string": "text", "array": "a list", "object": "names with values"}
    return words.get(str(kind), "null" if kind == "null" else "as described")


def _numbers(schema: dict[str, Any], kind: str) -> str:
    low, above = schema.get("minimum"), schema.get("exclusiveMinimum")
    high = schema.get("maximum")
    if high is not None and high not in (LARGEST, 2**31):
        return f"{kind} from {low:g} to {high:g}"
    if above is not None:
        return f"{kind} above {above:g}"
    return kind if low is None else f"{kind} from {low:g} on"


def _unit(name: str, effect: str) -> str:
    unit = next((unit for end, unit in _UNITS.items() if name.endswith(end)), "")
    return unit or ("s" if effect.startswith("Seconds ") else "")


def _default(key: str, field: FieldInfo) -> str:
    if key.startswith("zones.NAME."):
        name = key.rpartition(".")[2]
        by_zone = [f"{_text(zone[name])} ({title})" for title, zone in ZONE_DEFAULTS.items() if name in zone]
        rest = [] if field.is_required() else [f"{_text(field.get_default())} (others)"]
        return ", ".join([*by_zone, *(rest if by_zone else [_text(field.get_default())])])
    if field.is_required():
        return "(must be given)"
    return _text(field.get_default(call_default_factory=True))


def _text(value: object) -> str:
    if value is PydanticUndefined:
        return "(must be given)"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(str, value))}]"
    if isinstance(value, Section | dict):
        return "{}"
    return f"{value:,g}".replace(",", "") if isinstance(value, float) else str(value)


def markdown(settings: Iterable[Setting]) -> str:
    """Settings as a table in Markdown."""
    rows = ["| key | default | unit | values | what it does |", "|---|---|---|---|---|"]
    for key, values, unit, default, effect in settings:
        cells = (f"`{key}`", f"`{default}`", unit, values, effect)
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)
