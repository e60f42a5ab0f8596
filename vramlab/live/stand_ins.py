"""Stand-in models: ONNX files of the sizes that an inventory names, where the real ones cannot be shipped.

A stand-in has the size of the real file (never more, at most 2 percent less), a plausible structure
(:mod:`vramlab.live.graphs`), a dynamic batch axis, and weights that follow from its name and a seed, so that
every machine builds the same bytes. Files are written atomically, say in their metadata what they were built
from, and are reused as long as that is what is wanted.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import platformdirs
from onnx import GraphProto, ModelProto, TensorProto, helper

from vramlab.config.errors import InputError
from vramlab.config.files import replacing
from vramlab.config.schema import Inventory, ModelSpec
from vramlab.config.units import bytes_to_mib, mib_to_bytes
from vramlab.live.errors import BadModelFile
from vramlab.live.graphs import IR_VERSION, OPSET, Role, Weight, build_graph
from vramlab.live.model_files import check_model_file

Progress = Callable[[str, int, int], None]
"""Called with the model's name, the bytes of it that stand, and the bytes it will have."""

GENERATOR_VERSION = 1  # to be raised by whoever changes the bytes that come out
METADATA_KEY = "vramlab.stand_in"

_LARGEST_BYTES = 2**31 - 2**20  # protobuf cannot hold more in one message
_DRAWN_AT_ONCE = 1 << 20  # values

# Channels of a backbone: the widest is taken that leaves a fifth of the bytes to the fully connected layers.
_WIDTHS = (24, 16, 12, 8, 4, 2)

_CLASSIFIER = re.compile(r"spoof|fake|liveness|gender|age|emotion|quality|classif", re.IGNORECASE)
_RECOGNISER = re.compile(
    r"(arc|ada|cos|mag|sphere|elastic)face|facenet|recogni|embed|re-?id|vggface|\bir_?\d+", re.IGNORECASE
)
_DETECTOR = re.compile(r"yolo|detect|retina|scrfd|blaze|\bssd|rcnn|detr\b|centerface|mtcnn", re.IGNORECASE)


def role_of(name: str) -> Role:
    """What a model does, guessed from its name: a classifier where nothing else is said."""
    if _CLASSIFIER.search(name) and not re.search(r"yolo", name, re.IGNORECASE):
        return "classifier"
    if _RECOGNISER.search(name):
        return "recogniser"
    return "detector" if _DETECTOR.search(name) else "classifier"


def cache_folder() -> Path:
    """Where stand-ins are kept: below ``VRAMLAB_CACHE`` if that is set, else in the user's cache folder."""
    base = os.environ.get("VRAMLAB_CACHE") or platformdirs.user_cache_dir("vramlab")
    return Path(base) / "stand-ins"


def build_stand_ins(
    inventory: Inventory,
    folder: Path | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Path]:
    """Build the stand-ins of an inventory that do not stand there yet.

    Parameters
    ----------
    inventory : Inventory
        Models; the size of a file is the spec's ``vram_size_mb``.
    folder : Path or str, optional
        Where the files go, under the models' names. By default :func:`cache_folder`, in a folder per
        specification and seed.
    seed : int
        Other seeds give other weights.
    progress : callable, optional
        Called while files are written.

    Returns
    -------
    dict of str to Path
        In the order of the inventory.

    Raises
    ------
    InputError
        For a size that no ONNX file can have, and a folder that cannot be written.
    """
    return {name: _build(name, spec, folder, seed, progress) for name, spec in inventory.items()}


def with_stand_ins(
    inventory: Inventory,
    folder: Path | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inventory:
    """The inventory with a ``path`` for every model: its own file if that exists, else a stand-in's.

    Raises
    ------
    InputError
        As :func:`build_stand_ins`.
    """
    missing = {n: spec for n, spec in inventory.items() if spec.path is None or not Path(spec.path).exists()}
    built = build_stand_ins(missing, folder, seed, progress)
    return {
        # The checksum of a real file says nothing of the stand-in that takes its place.
        name: spec.model_copy(update={"path": str(built[name]), "sha256": None}) if name in built else spec
        for name, spec in inventory.items()
    }


def _build(
    name: str, spec: ModelSpec, folder: Path | str | None, seed: int, progress: Progress | None
) -> Path:
    size_bytes = mib_to_bytes(spec.vram_size_mb)
    identity = f"{GENERATOR_VERSION}/{role_of(name)}/{name}/{size_bytes}/{seed}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    file_name = _file_name(name)
    path = Path(folder) / file_name if folder is not None else cache_folder() / key[:12] / file_name
    if _stands(path, key):
        return path
    plan = _plan(name, size_bytes)
    # Bits that PCG64 draws and exact arithmetic on them: no function of the maths library, which differ.
    rng = np.random.Generator(np.random.PCG64(int(key[:32], 16)))
    with replacing(path) as temporary, temporary.open("wb") as stream:
        _write(
            stream, plan, key, rng, (lambda done: progress(name, done, plan.size_bytes)) if progress else None
        )
    return path


def _stands(path: Path, key: str) -> bool:
    if not path.exists():
        return False
    try:
        return check_model_file(path).metadata.get(METADATA_KEY) == key
    except BadModelFile:
        return False


def _file_name(name: str) -> str:
    plain = re.sub(r"[^\w.+-]+", "_", name).lstrip(".") or "model"
    return plain if plain.endswith(".onnx") else f"{plain}.onnx"


# -- choosing the shapes ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Plan:
    """A graph, its weights, and the exact size of the file that they will make."""

    graph: GraphProto
    weights: list[Weight]
    size_bytes: int


def stand_in_size_bytes(name: str, spec: ModelSpec) -> int:
    """Size of the stand-in's file in bytes, without building it."""
    return _plan(name, mib_to_bytes(spec.vram_size_mb)).size_bytes


def _plan(name: str, target_bytes: int) -> _Plan:
    """Shapes whose file is as large as fits into `target_bytes`."""
    if target_bytes > _LARGEST_BYTES:
        found = f"{bytes_to_mib(target_bytes):.0f} MB"
        expected = f"at most {bytes_to_mib(_LARGEST_BYTES):.0f} MB, as ONNX files hold no more"
        raise InputError(f"stand-in of {name}", "vram_size_mb", found, expected)
    role = role_of(name)
    for width in _WIDTHS:
        plain = _planned(role, width, 1)
        if plain.size_bytes <= 0.8 * target_bytes:
            break
    else:
        expected = f"at least {bytes_to_mib(plain.size_bytes / 0.8):.2f} MB, the smallest {role}"
        raise InputError(
            f"stand-in of {name}", "vram_size_mb", f"{bytes_to_mib(target_bytes):.2f} MB", expected
        )
    # The size grows linearly with the hidden width, but for a few bytes of lengths written as varints.
    per_unit = (_planned(role, width, 2).size_bytes - plain.size_bytes) or 1
    hidden = 1 + (target_bytes - plain.size_bytes) // per_unit
    while (plan := _planned(role, width, hidden)).size_bytes > target_bytes:
        hidden -= 1
    return plan


def _planned(role: Role, width: int, hidden: int) -> _Plan:
    graph, weights = build_graph(role, width, hidden)
    size = len(_model_header("0" * 64))
    body = _body_bytes(graph, weights)
    return _Plan(graph, weights, size + 1 + len(_varint(body)) + body)


# -- writing the file ------------------------------------------------------------------------------------
# Protobuf, field by field: so the size is known before a weight is drawn, and a file of a gigabyte needs the
# memory of one chunk. Tags are (field number << 3 | wire type); see onnx.proto.

_MODEL_GRAPH = bytes([7 << 3 | 2])
_GRAPH_INITIALIZER = bytes([5 << 3 | 2])
_TENSOR_RAW_DATA = bytes([9 << 3 | 2])


def _write(
    stream: BinaryIO, plan: _Plan, key: str, rng: np.random.Generator, done: Callable[[int], None] | None
) -> None:
    stream.write(_model_header(key))
    stream.write(_MODEL_GRAPH + _varint(_body_bytes(plan.graph, plan.weights)))
    stream.write(plan.graph.SerializeToString())
    for weight in plan.weights:
        head = _tensor_head(weight)
        stream.write(_GRAPH_INITIALIZER + _varint(len(head) + 4 * weight.count) + head)
        for values in _drawn(weight, rng):
            stream.write(values.astype("<f4", copy=False).data)
            if done is not None:
                done(stream.tell())


def _drawn(weight: Weight, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Values of a tensor, in chunks; float32."""
    for start in range(0, weight.count, _DRAWN_AT_ONCE):
        values = rng.random(min(_DRAWN_AT_ONCE, weight.count - start), dtype=np.float32)
        values -= np.float32(0.5)
        values *= np.float32(2 * weight.bound)
        values += np.float32(weight.mean)
        yield values


def _model_header(key: str) -> bytes:
    model = ModelProto(
        ir_version=IR_VERSION, producer_name="vramlab", producer_version=str(GENERATOR_VERSION)
    )
    model.opset_import.append(helper.make_opsetid("", OPSET))
    model.metadata_props.add(key=METADATA_KEY, value=key)
    return bytes(model.SerializeToString())


def _tensor_head(weight: Weight) -> bytes:
    """Everything of a ``TensorProto`` but its data."""
    tensor = TensorProto(dims=weight.shape, data_type=TensorProto.FLOAT, name=weight.name)
    return bytes(tensor.SerializeToString()) + _TENSOR_RAW_DATA + _varint(4 * weight.count)


def _body_bytes(graph: GraphProto, weights: list[Weight]) -> int:
    """Length of the graph's message, with all weights."""
    size = int(graph.ByteSize())
    for weight in weights:
        length = len(_tensor_head(weight)) + 4 * weight.count
        size += 1 + len(_varint(length)) + length
    return size


def _varint(value: int) -> bytes:
    size = max(1, math.ceil(value.bit_length() / 7))
    return bytes((value >> 7 * i & 0x7F) | (0x80 if i < size - 1 else 0) for i in range(size))
