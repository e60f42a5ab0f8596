"""Inputs that are made for a model: as its inventory entry says, else by guessing and trying.

An entry of the inventory may name true inputs (``inputs``): an ``.npz`` file with an array per input, or per
input a shape and a range. Without that, inputs are guessed from types, shapes and the names of axes; a file
says little, so a guess counts only after the model has run with it, and several *recipes* are tried.
"""

from __future__ import annotations

import math
import re
import time
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vramlab.config.errors import InputError, nearest
from vramlab.config.schema import InputSample, ModelSpec, Priority
from vramlab.live.batches import BatchAxis, batch_axis
from vramlab.live.errors import SessionError
from vramlab.live.model_files import check_model_file
from vramlab.live.onnx_sessions import Session, make_session
from vramlab.live.values import FOREIGN_TYPES, NUMPY_TYPES, Feeds, InputInfo


class Recipe(NamedTuple):
    """Lengths for axes that a model leaves open: of images, of their channels, and of anything else.

    With ``states``, axes without a name count items in all inputs but the first, as in a state.
    """

    pixels: int = 128
    channels: int = 3
    length: int = 16
    states: bool = False


# Tried in this order. Heights of text lines (48, 32), windows of sound (512 and 576 samples, 10 ms at 16 kHz,
# a second), classifiers' images (224, 112, 28), one channel, a single step.
RECIPES = (
    Recipe(),
    Recipe(48, 3, 512),
    Recipe(96, 3, 512, states=True),
    Recipe(64, 3, 256),
    Recipe(224, 3, 576),
    Recipe(32, 3, 1),
    Recipe(64, 1, 160),
    Recipe(48, 1, 80),
    Recipe(256, 3, 32),
    Recipe(32, 1, 2),
    Recipe(640, 3, 1024),
    Recipe(112, 3, 400),
    Recipe(320, 3, 2048),
    Recipe(28, 1, 8),
    Recipe(512, 3, 16_000),
    Recipe(224, 1, 1280),
    Recipe(64, 4, 640),
    Recipe(299, 3, 48_000),
)
_MOST_VALUES = 1 << 24  # of a guess; a megapixel of colours has three million
_MOST_DECLARED = 1 << 31
_RATES = re.compile(r"^(sr|sample_?rate|sampling_?rate|rate)$", re.IGNORECASE)
_RATE_HZ = 16_000


class NoInputs(SessionError):
    """No guess at a model's inputs has run; `last` says how the last one failed."""

    def __init__(self, model: str, last: Exception | None) -> None:
        self.last = " ".join(str(last).split())
        super().__init__(
            f"{model}: no made-up inputs fit; name true ones under `inputs` in the inventory. "
            f"The last try failed: {self.last}"
        )


def make_inputs(
    model: Session | Path | str,
    items: int,
    rng: np.random.Generator,
    recipe: Recipe | None = None,
    spec: ModelSpec | None = None,
) -> Feeds:
    """Inputs for a model: those that its entry names, else a guess.

    Parameters
    ----------
    model : Session, Path or str
        A loaded model, or its file, which need not be loaded for this.
    items : int
        Length of the batch axis, wherever it stands.
    rng : Generator
        Numbers are drawn from it: standard normal, or small integers (which are valid as indices).
    recipe : Recipe, optional
        Lengths for open axes; by default the first of :data:`RECIPES`.
    spec : ModelSpec, optional
        Whose ``inputs`` are taken where it has some.

    Raises
    ------
    InputError
        For a file that is no model, declared inputs that do not fit, and inputs that cannot be guessed.
    """
    if isinstance(model, Session):
        name, arguments = model.name, model.signature.inputs
    else:
        name, arguments = str(model), list(inputs_of_file(model))
    axis = batch_axis(arguments)
    if spec is not None and spec.inputs is not None:
        feeds = _declared(name, arguments, axis, spec.inputs, items, rng)
        return _resized(feeds, axis, items) if spec.splits else feeds
    lengths = _Lengths(arguments, axis, items, recipe or RECIPES[0])
    feeds = {info.name: _guessed(name, info, lengths, rng) for info in arguments}
    return _resized(feeds, axis, items) if spec is not None and spec.splits else feeds


def inputs_of_file(path: Path | str) -> tuple[InputInfo, ...]:
    """What a run of a model needs, by its file; one in ORT format has to be loaded for that."""
    file = check_model_file(path)
    return _loaded_inputs(file.path, file.path.stat().st_mtime_ns) if file.is_ort_format else file.inputs


@lru_cache(maxsize=1024)
def _loaded_inputs(path: Path, changed_ns: int) -> tuple[InputInfo, ...]:
    spec = ModelSpec(priority=Priority.MEDIUM, vram_size_mb=1, load_time_ms=0)
    with make_session(path, spec, None) as session:
        return tuple(session.signature.inputs)


def fitting_recipe(
    session: Session, spec: ModelSpec, limit_s: float = 10.0, tries: int = len(RECIPES)
) -> Recipe:
    """The first recipe whose inputs the model runs with; a declared sample stands for all of them.

    Parameters
    ----------
    session : Session
        Loaded.
    spec : ModelSpec
        Of the model.
    limit_s : float
        Seconds after which no further recipe is tried.
    tries : int
        Most recipes to try.

    Raises
    ------
    NoInputs
        If no guess has run.
    InputError, SessionError
        If declared inputs do not fit, or the model fails with them.
    """
    until_s = time.perf_counter() + limit_s
    last: Exception | None = None
    for recipe in RECIPES[:tries]:
        if last is not None and time.perf_counter() > until_s:
            break
        try:
            session.run(make_inputs(session, 1, np.random.default_rng(0), recipe, spec))
            return recipe
        except (SessionError, InputError) as error:
            if spec.inputs is not None:
                raise
            last = error
            if isinstance(error, InputError):
                break
    raise NoInputs(session.name, last)


# -- declared -----------------------------------------------------------------------------------------------


def _declared(
    model: str,
    arguments: Sequence[InputInfo],
    axis: BatchAxis | None,
    declared: str | Mapping[str, InputSample],
    items: int,
    rng: np.random.Generator,
) -> Feeds:
    samples = _read_npz(declared) if isinstance(declared, str) else declared
    source = declared if isinstance(declared, str) else model
    known = {info.name: info for info in arguments}
    counting = _batch_name(arguments, axis)
    for name in samples:
        if name not in known:
            expected = f"an input of {Path(model).name}{nearest(name, known)}"
            raise InputError(source, f"inputs.{name}", "an unknown input", expected)
    feeds: Feeds = {}
    for info in arguments:
        sample = samples.get(info.name)
        if sample is None:
            if info.type.startswith("optional"):
                continue
            raise InputError(source, f"inputs.{info.name}", "nothing", f"a sample, as {model} needs it")
        if isinstance(sample, InputSample):
            feeds[info.name] = _drawn(model, info, sample, items, rng)
        else:
            places = [place for place, length in enumerate(info.shape) if counting and length == counting]
            if axis is not None and info.name in axis.names and not axis.fixed:
                places = [0, *places]
            feeds[info.name] = _repeated(sample, places, items)
    return feeds


def _read_npz(path: str) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        found = error.strerror.lower() if isinstance(error, OSError) and error.strerror else "no such arrays"
        raise InputError(path, "inputs", found, "a .npz file with an array per input") from error


def _drawn(
    model: str, info: InputInfo, sample: InputSample, items: int, rng: np.random.Generator
) -> np.ndarray:
    shape = tuple(items if length == "items" else length for length in sample.shape)
    dtype = _dtype(model, info)
    key = f"inputs.{info.name}"
    if math.prod(shape) > _MOST_DECLARED:
        raise InputError(model, f"{key}.shape", f"{math.prod(shape):,} values", f"at most {_MOST_DECLARED:,}")
    if dtype.kind == "O":
        return np.full(shape, "text", dtype=object)
    if sample.range is None:
        return _values(shape, dtype, rng)
    low, high = sample.range
    if dtype.kind in "iu" and not (np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max):
        found = f"{low:g} to {high:g}"
        raise InputError(model, f"{key}.range", found, f"values that {dtype.name} can have")
    if dtype.kind in "iub":
        return rng.integers(int(low), int(high), shape, endpoint=True).astype(dtype)
    return rng.uniform(low, high, shape).astype(dtype)


def _repeated(sample: np.ndarray, places: Sequence[int], items: int) -> np.ndarray:
    """A sample with so many items: its own, over and over, along each axis that counts them."""
    for place in places:
        if place < sample.ndim and sample.shape[place]:
            sample = np.take(sample, np.arange(items) % sample.shape[place], axis=place)
    return sample


def _resized(feeds: Feeds, axis: BatchAxis | None, items: int) -> Feeds:
    """Inputs of a model whose file fixes the batch, with so many items: such a request is split."""
    if axis is None or axis.fixed is None:
        return feeds
    return feeds | {name: _repeated(feeds[name], [0], items) for name in axis.names}


def _batch_name(arguments: Sequence[InputInfo], axis: BatchAxis | None) -> str | None:
    """The name of the axis that counts items, by which it is known in other inputs and places."""
    if axis is None:
        return None
    name = next(info.shape[0] for info in arguments if info.name == axis.names[0])
    return name if isinstance(name, str) else None


# -- guessed ------------------------------------------------------------------------------------------------


class _Lengths:
    """Lengths for the open axes of a model: equal names have equal lengths, and sums of names add up."""

    def __init__(
        self, arguments: Sequence[InputInfo], axis: BatchAxis | None, items: int, recipe: Recipe
    ) -> None:
        self._recipe, self._items, self._axis = recipe, items, axis
        self._first = arguments[0].name if arguments else ""
        self._known: dict[str, int] = {}
        for info in arguments:
            for place, length in enumerate(info.shape):
                if isinstance(length, str) and _is_name(length):
                    self._known.setdefault(length, self._of_open(info, place))
        counting = _batch_name(arguments, axis)
        if counting is not None:
            self._known[counting] = items

    def shape(self, info: InputInfo) -> tuple[int, ...]:
        return tuple(self._length(info, place) for place in range(len(info.shape)))

    @property
    def of_a_sequence(self) -> int:
        return self._recipe.length

    def _length(self, info: InputInfo, place: int) -> int:
        length = info.shape[place]
        if isinstance(length, int) and length >= 0:
            return length
        if isinstance(length, str):
            return self._named(length, info, place)
        if place == 0 and self._axis is not None and info.name in self._axis.names:
            return self._items
        return self._of_open(info, place)

    def _named(self, name: str, info: InputInfo, place: int) -> int:
        """The length that a name stands for; exporters write sums and products of names, too."""
        if _is_name(name):
            return self._known[name]
        total = 0
        for term in name.split("+"):
            product = 1
            for factor in term.split("*"):
                factor = factor.strip(" ()")
                if not (factor.isdecimal() or factor in self._known):
                    return self._of_open(info, place)
                product *= int(factor) if factor.isdecimal() else self._known[factor]
            total += product
        return total

    def _of_open(self, info: InputInfo, place: int) -> int:
        name = info.shape[place]
        if isinstance(name, str) and re.search(r"batch|^n$", name, re.IGNORECASE):
            return self._items
        if name is None and self._recipe.states and info.name != self._first:
            return self._items
        if len(info.shape) != 4:
            return self._recipe.length
        channels_last = info.shape[3] in (1, 3, 4)
        return self._recipe.channels if place == 1 and not channels_last else self._recipe.pixels


def _is_name(text: str) -> bool:
    return not re.search(r"[+*]", text)


def _guessed(model: str, info: InputInfo, lengths: _Lengths, rng: np.random.Generator) -> Any:
    kind = info.type
    if kind.startswith("optional("):
        return None
    if kind.startswith("seq(tensor("):
        inner = InputInfo(info.name, (), kind[4:-1])
        return [_values((lengths.of_a_sequence,), _dtype(model, inner), rng) for _ in range(2)]
    shape, dtype = lengths.shape(info), _dtype(model, info)
    if math.prod(shape) > _MOST_VALUES:
        raise SessionError(f"{model}: input {info.name}: a guess of {math.prod(shape):,} values is none")
    if _RATES.match(info.name) and dtype.kind in "iu":
        return np.full(shape, _RATE_HZ, dtype)
    return _values(shape, dtype, rng)


def _dtype(model: str, info: InputInfo) -> np.dtype[Any]:
    foreign = FOREIGN_TYPES.get(info.type)
    dtype: Any = foreign[1] if foreign else NUMPY_TYPES.get(info.type)
    if dtype is None:
        expected = "a type that inputs can be made of: numbers, switches or text"
        raise InputError(model, f"input {info.name}", info.type, expected)
    known: np.dtype[Any] = np.dtype(dtype)
    return known


def _values(shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator) -> np.ndarray:
    if dtype.kind == "O":
        return np.full(shape, "text", dtype=object)
    if dtype.kind == "f" or dtype.kind == "V":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)
    highest = 256 if dtype == np.uint8 else 2  # pixels, else indices and switches
    return np.asarray(rng.integers(0, highest, shape)).astype(dtype)
