"""The allocator: zones, eviction scoring and policies. Pure, in whole bytes, without a clock."""

from vramlab.allocator.allocator import Allocator
from vramlab.allocator.decisions import Decision, Kind
from vramlab.allocator.facts import IllegalTransition, State
from vramlab.allocator.making import make_allocator

__all__ = ["Allocator", "Decision", "IllegalTransition", "Kind", "State", "make_allocator"]
