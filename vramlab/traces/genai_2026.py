"""The importer of the GenAI 2026 trace lives in :mod:`vramlab.traces.importers.genai_2026`."""

from vramlab.traces.importers.genai_2026 import ImportReport, genai_2026_inventory, import_genai_2026

__all__ = ["ImportReport", "genai_2026_inventory", "import_genai_2026"]
