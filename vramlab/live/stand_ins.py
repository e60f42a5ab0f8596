"""Stand-in models: ONNX files of the sizes that an inventory names, where the real ones cannot be shipped.

A stand-in has the size of the real file (never more, at most 2 percent less), a plausible structure
(:mod:`vramlab.live.graphs`), a dynamic batch axis, and weights that follow from its name and a seed, so that
every machine builds the same bytes. Files are written atomically, say in their metadata what they were built
from, and are reused as long as that is what is wanted. No file is replaced that does not say so.

A stand-in is never taken for the model: an inventory that uses one says so (``stand_in_mb``), and what is
measured on one is written down without its path.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
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
_HEADER_BYTES = 1024  # in which a stand-in has its metadata
_LONGEST_NAME = 200  # bytes; file systems take 255, of which temporary files need some

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
        For a size that no ONNX file can have, a folder that cannot be written, and a file in the way that
        vramlab did not make.
    """
    files = _file_names(inventory)
    return {name: _build(name, spec, files[name], folder, seed, progress) for name, spec in inventory.items()}


def with_stand_ins(
    inventory: Inventory,
    folder: Path | str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Inventory:
    """The inventory with a ``path`` for every model: its own where one is given, else a stand-in's.

    Models whose file is a stand-in say so (``stand_in_mb``), or the live runtime would refuse it.

    Raises
    ------
    InputError
        As :func:`build_stand_ins`, and for a path that is given and leads nowhere.
    """
    for name, spec in inventory.items():
        if spec.path is not None and not os.path.exists(spec.path):
            expected = "its ONNX file, or no path where a stand-in will do"
            raise InputError("inventory", f"models.{name}.path", f"no file {spec.path}", expected)
    built = build_stand_ins({n: spec for n, spec in inventory.items() if spec.path is None},
                            folder, seed, progress)  # fmt: skip

    def ready(name: str, spec: ModelSpec) -> ModelSpec:
        # The checksum of a real file says nothing of the stand-in that takes its place.
        if name in built:
            return spec.model_copy(
                update={"path": str(built[name]), "sha256": None, "stand_in_mb": _size_mb(spec)}
            )
        if spec.path is not None and is_stand_in(spec.path):
            return spec.model_copy(update={"stand_in_mb": _size_mb(spec)})
        return spec

    return {name: ready(name, spec) for name, spec in inventory.items()}


def without_stand_ins(inventory: Inventory, given: Inventory) -> Inventory:
    """What was measured on stand-ins, as it is written down: path and checksum are those `given` before.

    ``stand_in_mb`` stays, as the file whose figures these are.
    """
    return {
        name: spec.model_copy(update={"path": given[name].path, "sha256": given[name].sha256})
        if spec.stand_in_mb is not None
        else spec
        for name, spec in inventory.items()
    }


def is_stand_in(path: Path | str) -> bool:
    """Whether a file is a stand-in, whole or cut; False where there is none that can be read."""
    try:
        with open(path, "rb") as file:
            return METADATA_KEY.encode() in file.read(_HEADER_BYTES)
    except OSError:
        return False


def _size_mb(spec: ModelSpec) -> float:
    return spec.vram_size_mb if spec.stand_in_mb is None else spec.stand_in_mb


def _build(
    name: str,
    spec: ModelSpec,
    file_name: str,
    folder: Path | str | None,
    seed: int,
    progress: Progress | None,
) -> Path:
    size_bytes = mib_to_bytes(_size_mb(spec))
    identity = f"{GENERATOR_VERSION}/{role_of(name)}/{name}/{size_bytes}/{seed}"
    key = hashlib.sha256(identity.encode()).hexdigest()
    path = Path(folder) / file_name if folder is not None else cache_folder() / key[:12] / file_name
    if _stands(path, key):
        return path
    if os.path.lexists(path) and not is_stand_in(path):
        raise InputError(path, "", "a file that vramlab did not make", "another folder for the stand-ins")
    plan = _plan(name, size_bytes)
    # Bits that PCG64 draws and exact arithmetic on them: no function of the maths library, which differ.
    rng = np.random.Generator(np.random.PCG64(int(key[:32], 16)))
    with replacing(path) as temporary, temporary.open("wb") as stream:
        _write(
            stream, plan, key, rng, (lambda done: progress(name, done, plan.size_bytes)) if progress else None
        )
    return path


def _stands(path: Path, key: str) -> bool:
    if not os.path.exists(path):
        return False
    try:
        return check_model_file(path).metadata.get(METADATA_KEY) == key
    except BadModelFile:
        return False


def _file_names(names: Iterable[str]) -> dict[str, str]:
    """A file name for each model, no two the same: those that would share one end in a hash of the name."""
    plain = {name: _file_name(name) for name in names}
    shared = Counter(file.lower() for file in plain.values())  # some file systems know no capitals
    return {
        name: file if shared[file.lower()] == 1 or file == name else f"{file[:-5]}-{_digest(name)}.onnx"
        for name, file in plain.items()
    }


def _file_name(name: str) -> str:
    plain = re.sub(r"[^\w.+-]+", "_", name).lstrip(".").removesuffix(".onnx") or "model"
    if len(plain.encode()) > _LONGEST_NAME:
        cut = plain.encode()[: _LONGEST_NAME - 9].decode(errors="ignore")
        plain = f"{cut}-{_digest(name)}"
    return f"{plain}.onnx"


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]


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
