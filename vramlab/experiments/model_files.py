"""An inventory of ONNX files that no inventory knows yet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, Priority
from vramlab.config.units import MIB


def inventory_of_files(files: Sequence[Path]) -> Inventory:
    """Return an inventory of ONNX files of which only the size is known, external data included.

    Models have the names of their files; where two files have the same name, those of their folders as well.

    Raises
    ------
    InputError
        If a file is missing, or given twice.
    """
    for place, file in enumerate(files):
        if not file.is_file():
            raise InputError(file, "", "no such file", "an ONNX file")
        if file.resolve() in [other.resolve() for other in files[:place]]:
            raise InputError(file, "", "a file that was given before", "each file once")
    return {
        name: ModelSpec(
            priority=Priority.MEDIUM,
            vram_size_mb=max(1, math.ceil(_size_bytes(file) / MIB)),
            load_time_ms=0,
            path=str(file.resolve()),
        )
        for name, file in zip(_names_of(files), files, strict=True)
    }


def _size_bytes(file: Path) -> int:
    from vramlab.live.model_files import check_model_file  # knows ONNX, which most commands need not load

    try:
        return check_model_file(file).size_bytes
    except InputError:  # its measurement says what is wrong with it
        return file.stat().st_size


def _names_of(files: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell the files apart: ``model.onnx``, ``ocr/model.onnx``."""
    parts = [file.resolve().parts for file in files]
    names = []
    for own in parts:
        length = 1
        while sum(other[-length:] == own[-length:] for other in parts) > 1:
            length += 1
        names.append("/".join(own[-length:]))
    return names
