"""The allocator: zones, eviction scoring and policies. Pure, in whole bytes, without a clock."""

from vramlab.allocator.allocator import Allocator
from vramlab.allocator.facts import Decision, Kind
from vramlab.allocator.placement import make_allocator
from vramlab.allocator.states import IllegalTransition, State

__all__ = ["Allocator", "Decision", "IllegalTransition", "Kind", "State", "make_allocator"]
