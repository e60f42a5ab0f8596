"""vramlab: which models stay in VRAM, decided by evidence."""

__version__ = "0.1.0"
