"""The allocator: zones, eviction scoring and policies. Pure, in whole bytes, without a clock."""

from vramlab.allocator.allocator import Allocator, make_allocator
from vramlab.allocator.facts import Decision, IllegalTransition, Kind, State

__all__ = ["Allocator", "Decision", "IllegalTransition", "Kind", "State", "make_allocator"]
