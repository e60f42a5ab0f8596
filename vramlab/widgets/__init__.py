"""Views for notebooks and for Voilà: try settings on a trace, look into memory, watch a live runtime."""

from vramlab.widgets.explorer import PolicyExplorer
from vramlab.widgets.live_monitor import LiveMonitor
from vramlab.widgets.memory_map import MemoryMap

__all__ = ["LiveMonitor", "MemoryMap", "PolicyExplorer"]
