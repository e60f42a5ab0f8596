"""Options that several commands share, and how a command takes many as a few dataclasses."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import typer

from vramlab.allocator.policies import policy_names
from vramlab.cli.output import log, picture
from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, VramConfig
from vramlab.config.units import mib_to_bytes, size_mb
from vramlab.engine.orders import order_names
from vramlab.experiments.case import Case, resolve_case, resolve_settings
from vramlab.simulation.choosing import Times

TraceArgument = Annotated[
    Path,
    typer.Argument(help="Trace file (.parquet, .csv, each also with .gz), journal (.jsonl) or run folder."),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration or scenario file. Default: the specification's values."),
]
ModelsOption = Annotated[
    Path | None,
    typer.Option(
        "--models", help="Inventory of models. Default: the scenario's, or config/model_config.yaml."
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Set a key below vram_management; may be repeated."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of all that is random.")]
ModeOption = Annotated[
    Literal["simulate", "decide"],
    typer.Option(
        "--mode",
        help="simulate: queues and service times. decide: the allocator alone, without monitor, "
        "preloading and result cache.",
    ),
]
TimesOption = Annotated[
    Times | None,
    typer.Option(
        "--service-times",
        help="How long effects take: spec (the inventory's constants; the default), recorded (what a run has "
        "seen itself; the default for a run's folder), or, from the measurements of `vramlab profile` beside "
        "the inventory: link, median, sampled, contended.",
    ),
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", callback=picture, help="Picture of the answer to write.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
OrdersOption = Annotated[
    str | None,
    typer.Option(
        "--orders",
        help=f"Orders of serving, with commas between: {', '.join(order_names())}, package.module:name.",
    ),
]
PolicyOption = Annotated[
    str | None,
    typer.Option(
        "--policy",
        help=f"Eviction policy. Default: the configuration's. One of {', '.join(policy_names())}, or "
        "package.module:name.",
    ),
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        help="auto (CUDA if it works), cuda (cuda:1: the second), webgpu, cpu-emulated, cpu-arena.",
    ),
]
SpeedOption = Annotated[float, typer.Option("--speed", help="Times faster than the trace.")]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command take dataclasses as parameters: every field of one becomes an option of its own."""
    groups: dict[str, Any] = {}
    flat: dict[str, inspect.Parameter] = {}
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        kind = hints[name]
        if not is_dataclass(kind):
            flat[name] = parameter.replace(annotation=kind, kind=parameter.KEYWORD_ONLY)
            continue
        groups[name] = kind
        its = get_type_hints(kind, include_extras=True)
        for one in fields(kind):
            default = parameter.empty if one.default is MISSING else one.default
            flat[one.name] = inspect.Parameter(
                one.name, parameter.KEYWORD_ONLY, default=default, annotation=its[one.name]
            )

    @wraps(command)
    def taken(**given: Any) -> None:
        for name, kind in groups.items():
            given[name] = kind(**{one.name: given.pop(one.name) for one in fields(kind)})
        command(**given)

    taken.__dict__["__signature__"] = inspect.Signature(list(flat.values()))
    taken.__annotations__ = {name: parameter.annotation for name, parameter in flat.items()}
    return taken


@dataclass(frozen=True)
class SettingsOptions:
    """Configuration and inventory."""

    config: ConfigOption = None
    models: ModelsOption = None
    overrides: SetOption = None

    @property
    def files(self) -> list[Path | None]:
        """What is read."""
        return [self.config, self.models]

    def resolve(self) -> tuple[VramConfig, Inventory]:
        """Read them."""
        return resolve_settings(self.config, self.models, self.overrides or [])

    def case(self, trace: Path, **how: Any) -> Case:
        """Read them with a trace; `how` as for :func:`~vramlab.experiments.case.resolve_case`."""
        return resolve_case(trace, self.config, self.models, self.overrides or [], **how)


@dataclass(frozen=True)
class CaseOptions:
    """Everything that a study replays."""

    trace: TraceArgument
    config: ConfigOption = None
    models: ModelsOption = None
    overrides: SetOption = None
    mode: ModeOption = "simulate"
    seed: SeedOption = 0

    @property
    def files(self) -> list[Path | None]:
        """What is read."""
        return [self.trace, self.config, self.models]

    def resolve(self, *changes: str, service_times: Times | None = None) -> Case:
        """Read it, with `changes` on top; say where decide mode leaves something out."""
        overrides = [*(self.overrides or []), *changes]
        how: dict[str, Any] = {"mode": self.mode, "seed": self.seed, "service_times": service_times}
        case = resolve_case(self.trace, self.config, self.models, overrides, **how)
        say_without_preloading(case)
        return case


def say_without_preloading(case: Case, keys: Iterable[str] = ()) -> None:
    """Say on standard error that decide mode does not preload, where the settings ask for it.

    Parameters
    ----------
    keys : iterable of str
        Settings that will be changed.
    """
    asked = case.config.optimization.predictor is not None or "optimization.predictor" in keys
    if case.mode == "decide" and asked:
        log.print("decide mode does not preload: optimization.predictor changes nothing")


def names_in(option: str, text: str, between: str = ",") -> list[str]:
    """Split names at their commas, or what else stands between.

    Raises
    ------
    InputError
        For an empty name, and a name that stands there twice.
    """
    names = [name.strip() for name in text.split(between)]
    for place, name in enumerate(names):
        if not name:
            raise InputError(option, "", f"{text!r}, where a name is empty", "names with commas between")
        if name in names[:place]:
            raise InputError(option, "", f"{name!r} twice", "each name once")
    return names


def memory_bytes(option: str, size_mb: float) -> int:
    """Return the bytes of a size of memory given in MB.

    Raises
    ------
    InputError
        For a size that no memory has.
    """
    if not 0 < size_mb < 2**43:
        raise InputError(option, "", size_mb, "a finite size of more than 0 MB")
    return mib_to_bytes(size_mb)


def cards_in(option: str, text: str | None) -> list[float]:
    """Return the sizes of cards in MB of ``8GB,12GB``.

    Raises
    ------
    InputError
        For what is no size.
    """
    found = []
    for part in names_in(option, text) if text else []:
        size = size_mb(part)
        if size is None:
            raise InputError(option, "", repr(part), "a size such as 8GB or 12288MB")
        found.append(size)
    return found
