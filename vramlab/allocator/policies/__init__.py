"""Eviction policies: who leaves first.

A policy ranks the models of one zone; the allocator skips those that may not leave (in use, loading,
critical, inside their retention). A new policy is a class with the methods of :class:`Policy`, or a function
``score(model, now_s) -> float``, and one line in :data:`POLICIES`; a user's own is named in the
configuration as ``package.module:name``.

Queue disciplines (``lru``, ``fifo``, ``sieve``...) are *in order*: the order of leaving is their definition,
so no victim is spared because a later one would have been enough. Scores are pruned (see
:mod:`vramlab.allocator.eviction`).
"""

from vramlab.allocator.facts import Policy
from vramlab.allocator.policies.own import ScorePolicy
from vramlab.allocator.policies.registry import POLICIES, PRESETS, make_policy, policy_names

__all__ = ["POLICIES", "PRESETS", "Policy", "ScorePolicy", "make_policy", "policy_names"]
