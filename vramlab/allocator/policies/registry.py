"""All policies by name, and how one's own gets in: as ``package.module:name``, or by entry point.

An entry point of the group ``vramlab.policies`` (:mod:`vramlab.config.plugins`) names a function
``score(model, now_s)`` or a class with the methods of Policy, as ``package.module:name`` does.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from vramlab.allocator.facts import Policy
from vramlab.allocator.policies.decayed import DecayedScore
from vramlab.allocator.policies.greedy_dual import GreedyDual
from vramlab.allocator.policies.lhd import LHD
from vramlab.allocator.policies.lru_k import LRUK
from vramlab.allocator.policies.own import PolicyError, Watched
from vramlab.allocator.policies.queues import FIFO, LFU, LRU, Random
from vramlab.allocator.policies.s3_fifo import S3FIFO
from vramlab.allocator.policies.scores import Hyperbolic, LogLinearScore, ScorePolicy
from vramlab.allocator.policies.sieve import Sieve
from vramlab.allocator.scoring import DECAYED, SEED, SEED_FIXED, Exponents
from vramlab.config.errors import InputError, nearest
from vramlab.config.plugins import load_plugin, plugin_names
from vramlab.config.schema import ScoreWeights, ScoringConfig

# Points of the score family; ``scoring.weights`` moves each of its exponents.
PRESETS: dict[str, Exponents] = {"seed": SEED, "seed_fixed": SEED_FIXED, "decayed": DECAYED}

POLICIES: dict[str, Callable[[ScoringConfig], Policy]] = {
    "lru": lambda scoring: LRU(),
    "lfu": lambda scoring: LFU(),
    "fifo": lambda scoring: FIFO(),
    "gdsf": lambda scoring: GreedyDual(lambda model: model.load_s / model.bytes),
    "gdsf_hits": lambda scoring: GreedyDual(lambda model: 1.0 / model.bytes),
    "lfu_da": lambda scoring: GreedyDual(lambda model: 1.0),
    "lru_k": lambda scoring: LRUK(scoring.k),
    "hyperbolic": lambda scoring: Hyperbolic(lambda model: model.load_s / model.bytes),
    "sieve": lambda scoring: Sieve(),
    "s3_fifo": lambda scoring: S3FIFO(),
    "lhd": lambda scoring: LHD(),
    "random": lambda scoring: Random(np.random.default_rng(scoring.seed)),
}


def policy_names() -> list[str]:
    """All names that ``scoring.policy`` takes, beside ``package.module:name``: ours, then plug-ins."""
    ours = [*PRESETS, *POLICIES]
    return [*ours, *plugin_names("vramlab.policies", ours)]


def make_policy(scoring: ScoringConfig, source: str = "vram_management") -> Policy:
    """A fresh policy instance for one zone.

    Raises
    ------
    InputError
        For an unknown name, a policy of one's own or of a plug-in that cannot be had, weights given for a
        policy that has none, or ``victims: exact`` for one whose values do not add up.
    """
    policy = _named(scoring, source)
    if scoring.victims == "exact" and not policy.adds_up:
        expected = f"auto, in_order or pruned, as the values of {scoring.policy} do not add up"
        raise InputError(source, "scoring.victims", "'exact'", expected)
    return policy


def _named(scoring: ScoringConfig, source: str) -> Policy:
    name = scoring.policy
    plugin = None if ":" in name else load_plugin("vramlab.policies", name, {*PRESETS, *POLICIES})
    if name in PRESETS:
        exponents = PRESETS[name].overridden(scoring.weights)
        return (
            DecayedScore(exponents, scoring.half_life_s) if name == "decayed" else LogLinearScore(exponents)
        )
    if name not in POLICIES and ":" not in name and plugin is None:
        expected = f"one of {', '.join(policy_names())}, or module:name{nearest(name, policy_names())}"
        raise InputError(source, "scoring.policy", repr(name), expected)
    if scoring.weights != ScoreWeights():
        raise InputError(source, "scoring.weights", "weights", f"none, as policy {name} has no weights")
    if name in POLICIES:
        return POLICIES[name](scoring)
    return _own_policy(_imported(name, source) if plugin is None else plugin, name, source)


def _refuse(name: str, source: str, found: str, expected: str) -> InputError:
    return InputError(source, "scoring.policy", f"{name!r}, {found}", expected)


def _imported(name: str, source: str) -> Any:
    """What ``package.module:name`` names."""
    module_name, _, attribute = name.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError, TypeError) as error:  # TypeError: a relative name, as in `..:x`
        expected = "a module that can be imported (is its folder in PYTHONPATH?)"
        raise _refuse(name, source, str(error), expected) from error
    except Exception as error:  # whatever somebody else's module may raise
        found = f"{type(error).__name__}: {error}"
        raise _refuse(name, source, found, "a module that can be imported") from error
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise _refuse(name, source, str(error), f"a function or class of {module_name}") from error


def _own_policy(thing: Any, name: str, source: str) -> Policy:
    """A policy from outside: a function ``score(model, now_s)``, or a class with the methods of Policy."""

    def refuse(found: str, expected: str) -> InputError:
        return _refuse(name, source, found, expected)

    if not isinstance(thing, type):
        if not callable(thing):
            raise refuse(f"which is {type(thing).__name__}", "a function score(model, now_s), or a class")
        return ScorePolicy(thing, name)
    missing = [method for method in _METHODS if not callable(getattr(thing, method, None))]
    if missing:
        raise refuse(f"a class without {', '.join(missing)}", f"a class with {', '.join(_METHODS)}")
    try:
        return Watched(thing(), name)
    except PolicyError:
        raise
    except Exception as error:
        raise refuse(
            f"which raises {type(error).__name__}: {error}", "a class to make without arguments"
        ) from error


_METHODS = ("admitted", "used", "removed", "score", "ranked")
