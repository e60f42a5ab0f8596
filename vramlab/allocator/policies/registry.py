"""All policies by name, and how one's own gets in: as ``package.module:name``, or by entry point.

A new policy of ours is a class in a file of its own, and a line in :data:`POLICIES` (its options, if it has
some, in :data:`OPTIONS`). An entry point of the group ``vramlab.policies`` (:mod:`vramlab.config.plugins`)
names a function ``score(model, now_s)`` or a class with the methods of Policy, as ``package.module:name``
does. All are made with ``scoring.policy_options``.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

from vramlab.allocator.facts import Policy
from vramlab.allocator.policies.at_random import Random
from vramlab.allocator.policies.decayed import Decayed
from vramlab.allocator.policies.fifo import FIFO
from vramlab.allocator.policies.greedy_dual import GreedyDual
from vramlab.allocator.policies.hyperbolic import Hyperbolic
from vramlab.allocator.policies.lfu import LFU
from vramlab.allocator.policies.lhd import LHD
from vramlab.allocator.policies.log_linear import LogLinear
from vramlab.allocator.policies.lru import LRU
from vramlab.allocator.policies.lru_k import LRUK
from vramlab.allocator.policies.own import PolicyError, ScorePolicy, Watched
from vramlab.allocator.policies.s3_fifo import S3FIFO
from vramlab.allocator.policies.sieve import Sieve
from vramlab.allocator.scoring import (
    DECAYED,
    SEED,
    SEED_FIXED,
    Exponents,
    cost_per_byte,
    one,
    one_per_byte,
)
from vramlab.config.errors import InputError, nearest
from vramlab.config.plugins import imported, load_plugin, plugin_names
from vramlab.config.schema import ScoringConfig

# Points of the score family; the policy's options move each of their exponents.
PRESETS: dict[str, Exponents] = {"seed": SEED, "seed_fixed": SEED_FIXED, "decayed": DECAYED}

Factory = Callable[..., Policy]

POLICIES: dict[str, Factory] = {
    "seed": partial(LogLinear, **asdict(SEED)),
    "seed_fixed": partial(LogLinear, **asdict(SEED_FIXED)),
    "decayed": Decayed,
    "lru": LRU,
    "lfu": LFU,
    "fifo": FIFO,
    "gdsf": partial(GreedyDual, cost_per_byte),
    "gdsf_hits": partial(GreedyDual, one_per_byte),
    "lfu_da": partial(GreedyDual, one),
    "lru_k": LRUK,
    "hyperbolic": Hyperbolic,
    "sieve": Sieve,
    "s3_fifo": S3FIFO,
    "lhd": LHD,
    "random": Random,
}
"""Name to what makes a fresh policy: ``factory(**options)``."""

_EXPONENTS = tuple(asdict(SEED))
OPTIONS: dict[str, tuple[str, ...]] = {
    "seed": _EXPONENTS,
    "seed_fixed": _EXPONENTS,
    "decayed": ("half_life_s", *_EXPONENTS),
    "lru_k": ("k", "keeps_history"),
    "random": ("seed",),
}
"""Options of those that have some, as a compiled class cannot be asked for them."""


def policy_names() -> list[str]:
    """All names that ``scoring.policy`` takes, beside ``package.module:name``: ours, then plug-ins."""
    ours = [*POLICIES]
    return [*ours, *plugin_names("vramlab.policies", ours)]


def make_policy(scoring: ScoringConfig, source: str = "vram_management") -> Policy:
    """Make a fresh policy for one zone.

    Parameters
    ----------
    scoring : ScoringConfig
        Its name and options.
    source : str
        What errors name as the place where they were found.

    Raises
    ------
    InputError
        For an unknown name, a policy of one's own or of a plug-in that cannot be had, an option that it does
        not take or cannot use, or ``victims: exact`` for one whose values do not add up.
    """
    name = scoring.policy
    plugin = None if ":" in name else load_plugin("vramlab.policies", name, {*POLICIES})
    if name in POLICIES:
        policy = _ours(name, scoring, source)
    elif plugin is not None or ":" in name:
        if scoring.old_options()["weights"]:
            raise _no_weights(name, source)
        thing = imported(name, source, "scoring.policy") if plugin is None else plugin
        policy = _own_policy(thing, name, source, scoring.policy_options)
    else:
        expected = f"one of {', '.join(policy_names())}, or module:name{nearest(name, policy_names())}"
        raise InputError(source, "scoring.policy", repr(name), expected)
    if scoring.victims == "exact" and not policy.adds_up:
        expected = f"auto, in_order or pruned, as the values of {scoring.policy} do not add up"
        raise InputError(source, "scoring.victims", "'exact'", expected)
    return policy


def _ours(name: str, scoring: ScoringConfig, source: str) -> Policy:
    """Make a policy of ours with its options, of which some may stand where they stood before."""
    takes = OPTIONS.get(name, ())
    options = dict(scoring.policy_options)
    _check_names(options, takes, name, source)
    for option, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(source, f"scoring.policy_options.{option}", repr(value), "a number")
    for key, old in scoring.old_options().items():
        if key == "weights" and not {*takes} >= old.keys():
            raise _no_weights(name, source)
        for option, value in old.items():
            if option in options:
                expected = f"one of it and policy_options.{option}, which it is the old name of"
                raise InputError(source, f"scoring.{key}", f"{option} twice", expected)
            if option in takes:
                options[option] = value
    try:
        return POLICIES[name](**options)
    except (TypeError, ValueError) as error:
        expected = f"options that policy {name} can use"
        raise InputError(source, "scoring.policy_options", f"{options} ({error})", expected) from error


def _check_names(options: Collection[str], takes: Collection[str], name: str, source: str) -> None:
    for option in options:
        if option not in takes:
            expected = f"one of {', '.join(takes)}{nearest(option, takes)}" if takes else "none"
            found = f"an option that policy {name} does not take"
            raise InputError(source, f"scoring.policy_options.{option}", found, expected)


def _no_weights(name: str, source: str) -> InputError:
    return InputError(source, "scoring.weights", "weights", f"none, as policy {name} has no weights")


def _refuse(name: str, source: str, found: str, expected: str) -> InputError:
    return InputError(source, "scoring.policy", f"{name!r}, {found}", expected)


def _own_policy(thing: Any, name: str, source: str, options: Mapping[str, Any]) -> Policy:
    """A policy from outside: a function ``score(model, now_s)``, or a class with the methods of Policy."""

    def refuse(found: str, expected: str) -> InputError:
        return _refuse(name, source, found, expected)

    if not callable(thing):
        raise refuse(f"which is {type(thing).__name__}", "a function score(model, now_s), or a class")
    if options:
        parameters = inspect.signature(thing).parameters
        if not any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values()):
            _check_names(options, [key for key in parameters if key not in ("model", "now_s")], name, source)
    if not isinstance(thing, type):
        return ScorePolicy(partial(thing, **options) if options else thing, name)
    missing = [method for method in _METHODS if not callable(getattr(thing, method, None))]
    if missing:
        raise refuse(f"a class without {', '.join(missing)}", f"a class with {', '.join(_METHODS)}")
    try:
        return Watched(thing(**options), name)
    except PolicyError:
        raise
    except Exception as error:
        expected = "options that it takes" if options else "a class to make without arguments"
        raise refuse(f"which raises {type(error).__name__}: {error}", expected) from error


_METHODS = ("admitted", "used", "removed", "score", "ranked")
