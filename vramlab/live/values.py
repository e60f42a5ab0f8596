"""Values that go into a model and come out of it: kinds that numpy lacks, and what is wrong with a bad input.

``InferenceSession.run`` takes arrays, lists of arrays, and texts. It neither takes nor returns bfloat16, most
kinds of float8, and int4; they travel as onnxruntime's own values here, and are ``ml_dtypes`` arrays outside.
Nothing else is changed: an answer is what ``run`` returns.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import onnxruntime

from vramlab.live.errors import SessionError

Feeds = dict[str, Any]
"""Inputs by name: arrays, lists (sequences), None (an optional that is left out)."""

NUMPY_TYPES: dict[str, Any] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(string)": np.object_,
}
"""Element types in onnxruntime's words that numpy has."""

# Those that it lacks: ONNX's number of the type, and the array's type outside.
FOREIGN_TYPES: dict[str, tuple[int, Any]] = {
    "tensor(bfloat16)": (16, ml_dtypes.bfloat16),
    "tensor(float8e4m3fn)": (17, ml_dtypes.float8_e4m3fn),
    "tensor(float8e4m3fnuz)": (18, ml_dtypes.float8_e4m3fnuz),
    "tensor(float8e5m2)": (19, ml_dtypes.float8_e5m2),
    "tensor(float8e5m2fnuz)": (20, ml_dtypes.float8_e5m2fnuz),
    "tensor(uint4)": (21, ml_dtypes.uint4),
    "tensor(int4)": (22, ml_dtypes.int4),
}
_FOUR_BITS = {"tensor(uint4)", "tensor(int4)"}
_RETURNED_AS_BYTES = {"tensor(float8e4m3fn)"}  # run() returns these as uint8, and so do we


class InputInfo(NamedTuple):
    """One input of a model, described as onnxruntime describes it: an open length is a name, or None."""

    name: str
    shape: tuple[int | str | None, ...]
    type: str


class Signature:
    """What a model takes and returns.

    Parameters
    ----------
    model : str
        Name for messages.
    inputs, outputs : sequence of InputInfo
        As onnxruntime describes them.
    optional : sequence of InputInfo
        Inputs that have a value of their own where none is given.
    refuses_empty : bool
        Whether inputs with an axis of length 0 are refused: a recurrent operator ends the whole process on
        one.
    """

    def __init__(
        self,
        model: str,
        inputs: Sequence[InputInfo],
        outputs: Sequence[InputInfo],
        optional: Sequence[InputInfo] = (),
        refuses_empty: bool = False,
    ) -> None:
        self.model = model
        self.inputs, self.outputs, self.optional = list(inputs), list(outputs), list(optional)
        self._foreign = {info.name: info.type for info in self.inputs if info.type in FOREIGN_TYPES}
        self._texts = [info.name for info in self.inputs if "string" in info.type]
        self._returns_foreign = any(
            info.type in FOREIGN_TYPES and info.type not in _RETURNED_AS_BYTES for info in self.outputs
        )
        self._refuses_empty = refuses_empty
        self.plain = not (self._foreign or self._texts or self._returns_foreign or refuses_empty)
        """Whether ``run`` can be called as it is."""

    def run(self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], options: Any) -> Any:
        """Run a session whose values are not plain.

        Raises
        ------
        SessionError
            For bytes where text is expected: onnxruntime would take the text of their ``repr``. For an axis
            of length 0 where a recurrent operator could see it.
        """
        if self._refuses_empty:
            for info in self.inputs:
                shape = _empty_shape(inputs.get(info.name), info.type)
                if shape is not None:
                    raise self._refusal(info.name, f"a shape of {_tuple(shape)}", "no length of 0")
        for name in self._texts:
            if _has_bytes(inputs.get(name)):
                raise self._refusal(name, "bytes", "text: decode them first")
        feeds = dict(inputs)
        for name, kind in self._foreign.items():
            if isinstance(feeds.get(name), np.ndarray):
                feeds[name] = self._to_value(name, feeds[name], kind)
        if not self._returns_foreign:
            return session.run(None, feeds, options)
        feeds = {name: self.as_array(name, value) for name, value in feeds.items()}
        values = {name: _as_value(value) for name, value in feeds.items()}
        outputs = session.run_with_ort_values(None, values, options)
        return [_from_value(output) for output in outputs]

    def _to_value(self, name: str, array: np.ndarray, kind: str) -> onnxruntime.OrtValue:
        """An array of a type that numpy lacks; bytes of the right width are taken as they are."""
        number, dtype = FOREIGN_TYPES[kind]
        raw = np.dtype(np.uint16 if np.dtype(dtype).itemsize == 2 else np.uint8)
        # bytes are taken for values of 8 and 16 bits; of 4 bits, they might be two values each, or one
        if array.dtype != dtype and (array.dtype != raw or kind in _FOUR_BITS):
            raise self._refusal(name, array.dtype.name, np.dtype(dtype).name)
        held = np.ascontiguousarray(array).view(raw)
        if kind in _FOUR_BITS:
            held = _packed(held)
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(held, number)

    def as_array(self, name: str, value: Any) -> Any:
        """A list that stands for a tensor, as the array that onnxruntime would make of it."""
        kind = next((info.type for info in self.inputs if info.name == name), "")
        if isinstance(value, list | tuple) and kind in NUMPY_TYPES:
            return np.asarray(value, NUMPY_TYPES[kind])
        return value

    def fault(self, inputs: Mapping[str, Any]) -> SessionError | None:
        """Find what is wrong with inputs that a run has failed for; None where they look right."""
        known = {info.name: info for info in [*self.inputs, *self.optional]}
        for name in inputs:
            if name not in known:
                return self._refusal(str(name), "an unknown input", f"one of {', '.join(known) or 'none'}")
        for info in self.inputs:
            if info.name not in inputs:
                if info.type.startswith("optional"):
                    continue
                return self._refusal(info.name, "nothing", shown(info))
        for name, value in inputs.items():
            found = _misfit(value, known[name])
            if found:
                return self._refusal(name, found, shown(known[name]))
        return None

    def _refusal(self, name: str, found: str, expected: str) -> SessionError:
        return SessionError(f"running {self.model}: input {name}: found {found}, expected {expected}")


def shown(info: InputInfo) -> str:
    """Type and shape of an input in words, such as ``float32 (batch, 3)``."""
    kind = NUMPY_TYPES.get(info.type)
    name = info.type if kind is None else "text" if kind is np.object_ else np.dtype(kind).name
    if not info.type.startswith("tensor"):
        return name
    return f"{name} ({', '.join('any' if length is None else str(length) for length in info.shape)})"


def equal_answers(one: Any, other: Any) -> bool:
    """Whether two answers are equal bit for bit, types included; two NaNs are equal."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray):
        if one.dtype != other.dtype or one.shape != other.shape:
            return False
        if one.dtype == object:
            return bool((one == other).all())
        return one.tobytes() == other.tobytes() or _equal_but_for_nans(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(equal_answers(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(equal_answers, one, other))
    return bool(one == other) or (one != one and other != other)


def _equal_but_for_nans(one: np.ndarray, other: np.ndarray) -> bool:
    if one.dtype.kind != "f":
        return False
    nans = np.isnan(one)
    if not nans.any() or not np.array_equal(nans, np.isnan(other)):
        return False
    return np.where(nans, 0, one).tobytes() == np.where(nans, 0, other).tobytes()


def _empty_shape(value: Any, kind: str) -> tuple[int, ...] | None:
    """The shape of `value`, or of an array in it, that has an axis of length 0; None if there is none."""
    if isinstance(value, list | tuple) and kind.startswith("tensor"):
        try:
            value = np.asarray(value)
        except ValueError:  # rows of different lengths: the run says so
            return None
    if isinstance(value, np.ndarray):
        return value.shape if 0 in value.shape else None
    if isinstance(value, list | tuple):
        return next((shape for item in value if (shape := _empty_shape(item, kind)) is not None), None)
    return None


def _has_bytes(value: Any) -> bool:
    if isinstance(value, bytes):
        return True
    if isinstance(value, np.ndarray):
        # of kind S, too: onnxruntime takes several of them for one another's continuation
        return value.dtype.kind == "S" or (
            value.dtype == object and any(isinstance(item, bytes) for item in value.flat)
        )
    return isinstance(value, list | tuple) and any(map(_has_bytes, value))


def _misfit(value: Any, info: InputInfo) -> str:
    """How `value` differs from what a tensor input takes, in words; empty where it does not."""
    if not info.type.startswith("tensor"):
        return ""
    if value is None or isinstance(value, str | bytes | dict):
        return "nothing" if value is None else type(value).__name__
    try:
        array = np.asarray(value)
    except ValueError:
        return "rows of different lengths"
    if isinstance(value, np.generic) or not hasattr(value, "__len__"):
        return f"{type(value).__name__}, which is no array"
    found = f"{array.dtype.name if array.dtype.kind not in 'OUS' else 'text'} {_tuple(array.shape)}"
    wanted = FOREIGN_TYPES[info.type][1] if info.type in FOREIGN_TYPES else NUMPY_TYPES.get(info.type)
    is_text = array.dtype.kind in "OUS"
    # of a list onnxruntime makes the type that it needs
    is_other = isinstance(value, np.ndarray) and not is_text and array.dtype != wanted
    if wanted is not None and (is_text != (wanted is np.object_) or is_other):
        return found
    lengths = [length if isinstance(length, int) and length >= 0 else None for length in info.shape]
    if not lengths:  # a number, or a file that says nothing of the shape
        return ""
    if len(lengths) != array.ndim or any(
        length is not None and length != there for length, there in zip(lengths, array.shape, strict=True)
    ):
        return found
    return ""


def _tuple(shape: Sequence[int]) -> str:
    return f"({', '.join(map(str, shape))})"


# -- onnxruntime's own values -------------------------------------------------------------------------------


def _packed(halves: np.ndarray) -> np.ndarray:
    """Two values of four bits in each byte, low half first; the array keeps its shape, the rest is empty."""
    flat = np.zeros(halves.size + halves.size % 2, np.uint8)
    flat[: halves.size] = halves.ravel() & 0xF
    packed = np.zeros(halves.size, np.uint8)
    packed[: flat.size // 2] = flat[::2] | flat[1::2] << 4
    return packed.reshape(halves.shape)


def _as_value(value: Any) -> Any:
    if isinstance(value, onnxruntime.OrtValue):
        return value
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(value))


def _from_value(value: onnxruntime.OrtValue) -> Any:
    kind = value.data_type().lower()
    if kind not in FOREIGN_TYPES or kind in _RETURNED_AS_BYTES:
        return value.numpy()
    dtype, shape = np.dtype(FOREIGN_TYPES[kind][1]), tuple(value.shape())
    held = np.frombuffer(ctypes.string_at(value.data_ptr(), value.tensor_size_in_bytes()), np.uint8)
    if kind in _FOUR_BITS:
        halves = np.stack([held & 0xF, held >> 4], axis=-1).ravel()[: int(np.prod(shape))]
        return halves.astype(np.uint8).astype(np.int8).view(dtype).reshape(shape)
    return held.view(dtype).reshape(shape).copy()
