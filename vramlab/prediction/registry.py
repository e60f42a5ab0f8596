"""Predictors by name. A new one is a class with the methods of ``Predictor`` and a line in `PREDICTORS`.

Another package adds its own by an entry point of the group ``vramlab.predictors``
(:mod:`vramlab.config.plugins`): a class or function ``factory(models, **options)``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from vramlab.config.errors import InputError, nearest
from vramlab.config.plugins import imported, load_plugin, plugin_names
from vramlab.prediction.combined import Combined
from vramlab.prediction.ewma import Ewma
from vramlab.prediction.histogram import Histogram
from vramlab.prediction.own import Watched
from vramlab.prediction.predictor import Predictor
from vramlab.prediction.profile import Profile
from vramlab.prediction.successor import Successor

EXPERTS: dict[str, dict[str, Any]] = {
    "ewma": {},
    "ewma_day": {"predictor": "ewma", "half_life_s": 86_400.0},
    "histogram": {},
    "profile": {},
    "successor": {},
}
"""What ``combined`` combines where nothing else is said: name of the expert to its options."""


def combined(
    models: Iterable[str],
    *,
    experts: Mapping[str, Mapping[str, Any]] | None = None,
    start_s: float | None = None,
    week_offset_s: float = 0.0,
    **options: Any,
) -> Combined:
    """Weighted mean of several predictors, those that were right of late above all.

    Makes a :class:`Combined` with its experts.

    Parameters
    ----------
    models : iterable of str
        Names of the models.
    experts : mapping, optional
        Name of each expert to its options; ``predictor`` among them is the predictor's name, where it is not
        the expert's. Without it, :data:`EXPERTS`.
    start_s, week_offset_s : float, optional
        Given to the experts that take them, unless their options say otherwise.
    **options
        Those of :class:`Combined`.

    Raises
    ------
    InputError
        Without experts, for an unknown one, or for an option that an expert does not take.
    """
    names = list(models)
    chosen = EXPERTS if experts is None else experts
    if not chosen:
        raise InputError("predictor combined", "experts", "none", "at least one")
    made: dict[str, Predictor] = {}
    for name, given in chosen.items():
        own = dict(given or {})
        predictor = own.pop("predictor", name)
        common = {"start_s": start_s, "week_offset_s": week_offset_s}
        made[name] = make_predictor(predictor, names, **{**_taken(predictor, common), **own})
    return Combined(names, made, start_s=start_s, **options)


PREDICTORS: dict[str, Callable[..., Predictor]] = {
    "ewma": Ewma,
    "histogram": Histogram,
    "profile": Profile,
    "successor": Successor,
    "combined": combined,
}
"""Name to what makes a fresh predictor: ``factory(models, **options)``."""


def predictor_names() -> list[str]:
    """Return all names that :func:`make_predictor` knows, ours and then those of plug-ins."""
    return [*PREDICTORS, *plugin_names("vramlab.predictors", PREDICTORS)]


def make_predictor(name: str, models: Iterable[str], **options: Any) -> Predictor:
    """Make a fresh predictor.

    Parameters
    ----------
    name : str
        One of :func:`predictor_names`, or ``package.module:name`` of a class or function of one's own that
        takes ``(models, **options)``.
    models : iterable of str
        Names of the models that it will be asked for.
    **options
        Those of the predictor.

    Raises
    ------
    InputError
        For an unknown name, something that cannot be imported or is no predictor, or an option that it does
        not take or cannot use.
    """
    factory = _factory(name)
    try:
        signature = inspect.signature(factory)
        known = [key for key in signature.parameters if key != "models"]
        if not _takes_any(signature):
            for key in options:
                if key not in known:
                    expected = f"one of {', '.join(known) or 'none'}{nearest(key, known)}"
                    raise InputError(f"predictor {name}", key, "an option that it does not take", expected)
        predictor = factory(list(models), **options)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"predictor {name}", "options", f"{options} ({error})", "options that it takes"
        ) from error
    for method in ("observe", "probability"):
        if not callable(getattr(predictor, method, None)):
            raise InputError(f"predictor {name}", method, "no such method", "a predictor, which has it")
    return predictor if name in PREDICTORS else Watched(predictor, name)


def accepts(name: str, option: str) -> bool:
    """Return whether the predictor called `name` has an option of this name."""
    return option in _taken(name, {option: None})


def _factory(name: str) -> Callable[..., Predictor]:
    factory: Any
    if ":" in name:
        factory = imported(name, "predictor", "name")
    else:
        factory = load_plugin("vramlab.predictors", name, PREDICTORS) or PREDICTORS.get(name)
    if factory is None:
        known = predictor_names()
        expected = f"one of {', '.join(known)}, or package.module:name{nearest(name, known)}"
        raise InputError("predictor", "name", repr(name), expected)
    if not callable(factory):
        raise InputError(
            "predictor", "name", f"{name!r}, a {type(factory).__name__}", "a class or a function"
        )
    made: Callable[..., Predictor] = factory
    return made


def _taken(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of `options` that the predictor has parameters for."""
    try:
        parameters = inspect.signature(_factory(name)).parameters
    except (TypeError, ValueError):  # callables written in C need not tell
        return {}
    return {key: value for key, value in options.items() if key in parameters}


def _takes_any(signature: inspect.Signature) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in signature.parameters.values())
