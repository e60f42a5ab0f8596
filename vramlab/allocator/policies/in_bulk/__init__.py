"""Twins of policies for decide mode: the same decisions, with runs of hits taken as columns.

Rules that must hold:

1. A twin ranks as its original does, to the last bit (``tests/policies/test_bulk.py``).
2. A policy knows nothing of its twin, nor of runs.
3. What ``tests/benchmarks/test_bench_decide.py`` shows no gain for has no twin: policies without one that
   merge uses are told of the last uses of a run (:func:`.runs.tell_last_uses`), others of each use.

As a part of what libCacheSim's C core does with LRU (2000 models), interpreted, at 0.5% to 0.9% misses:
``lru`` 1.5, ``gdsf_hits`` 1.3, ``seed_fixed`` 1.2, ``decayed`` 0.5; at 1.4% to 2.6% misses 0.9, 1.2, 0.5 and
0.2. Compiled, a twin takes a half to three quarters of what its original takes there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from vramlab.allocator.facts import Policy
from vramlab.allocator.policies.in_bulk.decayed import DecayedInBulk
from vramlab.allocator.policies.in_bulk.greedy_dual import GreedyDualInBulk
from vramlab.allocator.policies.in_bulk.hyperbolic import HyperbolicInBulk
from vramlab.allocator.policies.in_bulk.log_linear import LogLinearInBulk
from vramlab.allocator.policies.in_bulk.queues import FIFOInBulk, LRUInBulk, RandomInBulk, SieveInBulk
from vramlab.allocator.scoring import SEED, SEED_FIXED, cost_per_byte, one, one_per_byte

TWINS: dict[str, Callable[..., Policy]] = {
    "seed": partial(LogLinearInBulk, **asdict(SEED)),
    "seed_fixed": partial(LogLinearInBulk, **asdict(SEED_FIXED)),
    "decayed": DecayedInBulk,
    "lru": LRUInBulk,
    "fifo": FIFOInBulk,
    "gdsf": partial(GreedyDualInBulk, cost_per_byte),
    "gdsf_hits": partial(GreedyDualInBulk, one_per_byte),
    "lfu_da": partial(GreedyDualInBulk, one),
    "hyperbolic": HyperbolicInBulk,
    "sieve": SieveInBulk,
    "random": RandomInBulk,
}
"""Name of a policy to its twin, made with the same options."""
