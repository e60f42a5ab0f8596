"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vramlab.allocator.policies import policy_names
from vramlab.config.errors import InputError
from vramlab.config.units import mib_to_bytes
from vramlab.simulation.choosing import Times

TraceArgument = Annotated[Path, typer.Argument(help="Trace file: .parquet or .csv, each also with .gz.")]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration or scenario file; the specification's values without it."),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option("--models", help="Inventory of models; the scenario's own, else config/model_config.yaml."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Override a setting below vram_management; may be repeated."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of whatever is random.")]
TimesOption = Annotated[
    Times,
    typer.Option(
        "--service-times",
        help="How long effects take: spec (the inventory's constants), or, from the measurements of `vramlab "
        "profile` beside the inventory: link, median, sampled, contended.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help=f"Eviction policy; the configuration's without it. One of {', '.join(policy_names())}, or "
        "package.module:name.",
    ),
]


def changes(overrides: list[str] | None, policy: str | None = None) -> list[str]:
    """What ``--set`` and ``--policy`` change."""
    return [*(overrides or []), *([] if policy is None else [f"scoring.policy={policy}"])]


def names_in(option: str, text: str) -> list[str]:
    """Names with commas between.

    Raises
    ------
    InputError
        For an empty name, and a name that stands there twice.
    """
    names = [name.strip() for name in text.split(",")]
    for place, name in enumerate(names):
        if not name:
            raise InputError(option, "", f"{text!r}, where a name is empty", "names with commas between")
        if name in names[:place]:
            raise InputError(option, "", f"{name!r} twice", "each name once")
    return names


def memory_bytes(option: str, size_mb: float) -> int:
    """A size of memory, given in MB.

    Raises
    ------
    InputError
        For what no memory has.
    """
    if not 0 < size_mb < 2**43:
        raise InputError(option, "", size_mb, "a finite size of more than 0 MB")
    return mib_to_bytes(size_mb)
