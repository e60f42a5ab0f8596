"""Looking at an ONNX file before anything loads it.

A cut or foreign file, a wrong checksum, or external data that would be read from outside the model's folder
is refused here, with one clear line. Only the fields' headers are read: weights are skipped, so that a file
of gigabytes is checked in milliseconds. The field numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from google.protobuf.message import DecodeError
from onnx import TensorProto, TypeProto, ValueInfoProto

from vramlab.live.errors import BadModelFile
from vramlab.live.values import InputInfo

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Which messages may hold a tensor somewhere below them: message -> field number -> message in that field.
_MESSAGES: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
    "tensor": {13: "external data"},
}
# Fields of ModelProto that onnx has given out, with their wire types. A file with others is something else.
_MODEL_FIELDS = {
    1: _VARINT,
    2: _BYTES,
    3: _BYTES,
    4: _BYTES,
    5: _VARINT,
    6: _BYTES,
    7: _BYTES,
    8: _BYTES,
    14: _BYTES,
    20: _BYTES,
    25: _BYTES,
    26: _BYTES,
}
# onnxruntime's own format: a flatbuffer, whose identifier stands behind four bytes.
_ORT_IDENTIFIER = b"ORTM"
# Operators whose kernels end the whole process on an axis of length 0 (onnxruntime 1.31.1: LSTM and GRU).
_RECURRENT = {b"LSTM", b"GRU", b"RNN", b"DynamicQuantizeLSTM"}
_IR_VERSION, _GRAPH, _METADATA = 1, 7, 14
_GRAPH_INITIALIZER, _GRAPH_INPUT, _TENSOR_NAME, _NODE_OPERATOR = 5, 11, 8, 4
_DEEPEST = 100  # messages within messages, as protobuf itself has it


@dataclass(frozen=True)
class ModelFile:
    """What a look at the headers says of a model file.

    Attributes
    ----------
    path : Path
        The file.
    size_bytes : int
        The file and its external data together.
    metadata : dict of str
        ``metadata_props`` of the model.
    external : tuple of Path
        Files with external data, each once.
    inputs : tuple of InputInfo
        What a run needs, in the order of the graph. Empty for a file in ORT format, which only a session
        can read.
    is_ort_format : bool
        Whether the file is in onnxruntime's own format (``.ort``).
    is_recurrent : bool
        Whether it has operators that must not see an axis of length 0.
    """

    path: Path
    size_bytes: int
    metadata: dict[str, str] = field(default_factory=dict)
    external: tuple[Path, ...] = ()
    inputs: tuple[InputInfo, ...] = ()
    is_ort_format: bool = False
    is_recurrent: bool = False


def check_model_file(path: Path | str, sha256: str | None = None) -> ModelFile:
    """Check that `path` is a whole ONNX file which reads nothing outside its folder.

    The answer is remembered until the file's size or time of change differs, so that reloading a model does
    not hash it again.

    Parameters
    ----------
    path : Path or str
        The model.
    sha256 : str, optional
        Hexadecimal checksum that the file itself must have.

    Raises
    ------
    BadModelFile
        Naming file, key, found and expected.
    """
    path = Path(path)
    try:
        status = path.stat()
        if not path.is_file():
            raise BadModelFile(path, "", "no regular file", "an ONNX file")
        wanted = sha256.lower() if sha256 else None
        # the time of change can be set by anybody, that of the inode by nobody
        headers = _headers(path, status.st_size, (status.st_mtime_ns, status.st_ctime_ns), wanted)
        external = {_inside(path, location): end for location, end in headers.external.items()}
        total = status.st_size
        for file, end in external.items():
            if not file.is_file() or not os.access(file, os.R_OK):
                raise BadModelFile(path, "external_data", f"no {file.name!r}", "a readable file")
            size = file.stat().st_size
            if size < end:
                raise BadModelFile(path, "external_data", f"{size} bytes in {file.name!r}", f"at least {end}")
            total += size
    except BadModelFile:
        raise
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, a loop of links, a null byte
        found = (getattr(error, "strerror", None) or str(error)).lower()
        raise BadModelFile(path, "", found, "a readable ONNX file") from error
    return ModelFile(
        path,
        total,
        dict(headers.metadata),
        tuple(external),
        tuple(headers.inputs),
        headers.is_ort_format,
        headers.is_recurrent,
    )


def identity_of(path: Path | str) -> tuple[int, ...]:
    """What tells a model's file from another one that has its name later; empty where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return ()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


@dataclass
class _Headers:
    """What a walk through a file collects; `external` maps a location to the end of the bytes read there."""

    metadata: dict[str, str] = field(default_factory=dict)
    external: dict[str, int] = field(default_factory=dict)
    inputs: list[InputInfo] = field(default_factory=list)
    is_ort_format: bool = False
    is_recurrent: bool = False


@lru_cache(maxsize=1024)
def _headers(path: Path, size_bytes: int, changed_ns: tuple[int, int], sha256: str | None) -> _Headers:
    with path.open("rb") as stream:
        try:
            headers = _walk_model(stream, size_bytes)
        except _NotOnnx as problem:
            raise BadModelFile(path, "", problem, "a whole ONNX model") from None
        if sha256 is not None:
            stream.seek(0)
            found = hashlib.file_digest(stream, "sha256").hexdigest()
            if found != sha256:
                raise BadModelFile(path, "sha256", found, sha256)
    return headers


def _inside(model: Path, location: str) -> Path:
    """File that `location` names; it must lie in the model's folder, links followed."""
    file = model.parent / location
    # A model cache may keep links to a folder of blobs: then that folder is the model's as well.
    homes = {model.parent.resolve(), model.resolve().parent}
    if (
        not location
        or Path(location).is_absolute()
        or ".." in Path(location).parts
        or not any(file.resolve().is_relative_to(home) for home in homes)
    ):
        raise BadModelFile(model, "external_data", repr(location), "a file inside the model's folder")
    return file


class _NotOnnx(Exception):
    """The bytes are no ONNX model; the message says what was found instead."""


def _walk_model(stream: BinaryIO, size: int) -> _Headers:
    headers = _Headers()
    if stream.read(8)[4:] == _ORT_IDENTIFIER:
        headers.is_ort_format = True
        stream.seek(0)
        content = stream.read()
        headers.is_recurrent = any(name in content for name in _RECURRENT)
        return headers
    seen = set()
    for number, wire, start, end in _fields(stream, 0, size):
        if _MODEL_FIELDS.get(number) != wire:
            raise _NotOnnx("bytes of another format")
        seen.add(number)
        if number == _METADATA:
            key, value = _entry(stream, start, end)
            headers.metadata[key] = value
        elif number in _MESSAGES["model"]:
            _walk(stream, _MESSAGES["model"][number], start, end, headers, 1)
        if number == _GRAPH:
            headers.inputs = _graph_inputs(stream, start, end)
    if not seen:
        raise _NotOnnx("an empty file")
    if not {_IR_VERSION, _GRAPH} <= seen:
        raise _NotOnnx("no graph")
    return headers


def _graph_inputs(stream: BinaryIO, start: int, end: int) -> list[InputInfo]:
    """Inputs of a graph, less those that are initializers: old files list them among the inputs."""
    inputs, initializers = [], set()
    for number, wire, first, last in _fields(stream, start, end):
        if number == _GRAPH_INPUT and wire == _BYTES:
            stream.seek(first)
            inputs.append(_input_info(stream.read(last - first)))
        elif number == _GRAPH_INITIALIZER and wire == _BYTES:
            for inner, inner_wire, name_first, name_last in _fields(stream, first, last):
                if inner == _TENSOR_NAME and inner_wire == _BYTES:
                    stream.seek(name_first)
                    initializers.add(stream.read(name_last - name_first).decode("utf-8", "replace"))
    return [info for info in inputs if info.name not in initializers]


def _input_info(message: bytes) -> InputInfo:
    try:
        value = ValueInfoProto.FromString(message)
    except DecodeError as error:
        raise _NotOnnx("inputs that cannot be read") from error
    tensor = value.type.tensor_type
    dims = tuple(
        getattr(dim, which) if (which := dim.WhichOneof("value")) else None for dim in tensor.shape.dim
    )
    return InputInfo(value.name, dims, _type_in_words(value.type))


def _type_in_words(kind: TypeProto) -> str:
    """A type as onnxruntime writes it: ``tensor(float)``, ``seq(tensor(float))``."""
    match kind.WhichOneof("value"):
        case "tensor_type":
            return f"tensor({_element(kind.tensor_type.elem_type)})"
        case "sparse_tensor_type":
            return f"sparse_tensor({_element(kind.sparse_tensor_type.elem_type)})"
        case "sequence_type":
            return f"seq({_type_in_words(kind.sequence_type.elem_type)})"
        case "optional_type":
            return f"optional({_type_in_words(kind.optional_type.elem_type)})"
        case "map_type":
            key = _element(kind.map_type.key_type)
            return f"map({key},{_type_in_words(kind.map_type.value_type)})"
    return "nothing"


def _element(number: int) -> str:
    known = number in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(number)).lower() if known else f"type {number}"


def _walk(stream: BinaryIO, message: str, start: int, end: int, headers: _Headers, depth: int) -> None:
    """Collect external data, and whether there are recurrent operators, from a message and all below it."""
    if depth > _DEEPEST:
        raise _NotOnnx(f"messages nested more than {_DEEPEST} deep")
    inner = _MESSAGES[message]
    entries: dict[str, str] = {}
    for number, wire, first, last in _fields(stream, start, end):
        if number == _NODE_OPERATOR and message == "node" and last - first < 32:
            stream.seek(first)
            headers.is_recurrent |= stream.read(last - first) in _RECURRENT
        below = inner.get(number)
        if below is None or wire != _BYTES:
            continue
        if below == "external data":
            key, value = _entry(stream, first, last)
            entries[key] = value
        else:
            _walk(stream, below, first, last, headers, depth + 1)
    if entries:
        location = entries.get("location", "")
        try:
            offset, length = (int(entries.get(key) or 0) for key in ("offset", "length"))
        except ValueError:
            raise _NotOnnx(f"external data with offset or length that is no number: {entries}") from None
        if offset < 0 or length < 0:
            raise _NotOnnx(f"external data with a negative offset or length: {entries}")
        needed = offset + length
        headers.external[location] = max(needed, headers.external.get(location, 0))


def _entry(stream: BinaryIO, start: int, end: int) -> tuple[str, str]:
    """A ``StringStringEntryProto``: key and value."""
    parts = {1: "", 2: ""}
    for number, wire, first, last in _fields(stream, start, end):
        if number in parts and wire == _BYTES:
            stream.seek(first)
            parts[number] = stream.read(last - first).decode("utf-8", "replace")
    return parts[1], parts[2]


def _fields(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Fields of one protobuf message in ``[start, end)``: number, wire type, and where the value lies."""
    at = start
    while at < end:
        tag, at = _varint(stream, at, end)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, at = _varint(stream, at, end)
            after = at + length
        elif wire == _VARINT:
            _, after = _varint(stream, at, end)
        elif wire in (_FIXED64, _FIXED32):
            after = at + (8 if wire == _FIXED64 else 4)
        else:
            raise _NotOnnx("bytes of another format")
        if number == 0:
            raise _NotOnnx("bytes of another format")
        if after > end:
            raise _NotOnnx(f"a file cut short (a field ends at byte {after} of {end})")
        yield number, wire, at, after
        at = after


def _varint(stream: BinaryIO, at: int, end: int) -> tuple[int, int]:
    """A varint at `at`, and where it ends."""
    stream.seek(at)
    value = 0
    for index, byte in enumerate(stream.read(min(10, end - at))):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, at + index + 1
    raise _NotOnnx("a file cut short" if end - at < 10 else "bytes of another format")
