"""onnxruntime sessions: made from checked files, run in chunks along the batch axis, dropped for good.

One :class:`Session` is one model on one device, or on the CPU as second best. It blocks: an asynchronous
driver calls it from worker threads (a run releases the interpreter's lock).
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from vramlab.config.errors import InputError
from vramlab.config.schema import ModelSpec
from vramlab.config.units import mib_to_bytes
from vramlab.live.devices import Device
from vramlab.live.errors import SessionError, translated, translation
from vramlab.live.model_files import InputInfo, check_model_file

Arrays = dict[str, np.ndarray]

# Element types in onnxruntime's words, for which inputs can be made.
_DTYPES: dict[str, Any] = {
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
_PIXELS, _CHANNELS, _LENGTH = 128, 3, 16  # of dimensions that a model leaves open
_COPIED_BYTES = 65_536  # beyond, a copy would be seen beside the run


class Session:
    """One loaded model; made by :func:`make_session`.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    inputs, outputs : list of InputInfo
        As the model describes them.
    batch_size : int
        Most items of one chunk.
    taken_bytes : int or None
        What the load was seen to take on the device: its charge where the device keeps a ledger, else the
        growth of this process's memory there. None on the CPU, and where the driver does not say.
    identity : tuple
        Of the file; another one, if it was replaced.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        name: str,
        batch_size: int,
        device: Device | None,
        charged_bytes: int = 0,
        workspace_bytes: int = 0,
        taken_bytes: int | None = None,
    ) -> None:
        self.name = name
        # Copies: onnxruntime's own descriptions keep the whole session alive, and its memory with it.
        self.inputs = [_described(argument) for argument in session.get_inputs()]
        self.outputs = [_described(argument) for argument in session.get_outputs()]
        self.taken_bytes = taken_bytes
        self.identity: tuple[Any, ...] = ()
        self.batched, fixed = _batch_axis(self.inputs)
        self.batch_size = fixed or batch_size
        self._fixed = fixed is not None
        self._session: onnxruntime.InferenceSession | None = session
        self._device = device
        self._charged_bytes = charged_bytes
        self._workspace_bytes = workspace_bytes
        self._workspace_held = False
        self._running = 0
        self._lock = threading.Lock()
        self._shrinking = onnxruntime.RunOptions()
        arena = device.arena if device is not None else "cpu:0"
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", arena)

    def run(self, inputs: Mapping[str, np.ndarray], *, shrink: bool = False) -> list[np.ndarray]:
        """Run the model on all items, in chunks of at most :attr:`batch_size`.

        The batch axis is the first axis of the first input, if that has two axes or more, and of every input
        whose first axis has the same name or length. Where a model fixes its length, short chunks are filled
        up and the surplus is cut off. Outputs of chunks are joined along their first axis.

        Outputs of up to 64 KB are copies. Larger ones are onnxruntime's own: the arena in which
        they lie is not freed while anybody keeps one.

        Parameters
        ----------
        inputs : mapping of str to ndarray
            By the names of the model's inputs.
        shrink : bool
            Give the arena's free memory back after the run.

        Raises
        ------
        OutOfMemory
            If the workspace found no room.
        SessionError
            If the run failed otherwise, inputs that do not fit included, or the session is closed.
        """
        session = self._session
        if session is None:
            raise SessionError(f"running {self.name}: the session is closed")
        # No context managers: a run is short, and what they cost would be seen beside it.
        charged = self._device is not None and self._workspace_bytes > 0
        if charged:
            self._take_workspace()
        try:
            items = _items(inputs, self.batched)
            if items == self.batch_size or not items or (items < self.batch_size and not self._fixed):
                made: list[Any] = session.run(None, inputs, self._shrinking if shrink else None)
                # Small ones are copied: onnxruntime's own keep an arena of a megabyte until they are freed.
                return [
                    out.copy() if isinstance(out, np.ndarray) and out.nbytes <= _COPIED_BYTES else out
                    for out in made
                ]
            return self._run_in_chunks(session, inputs, items, shrink)
        except SessionError:
            raise
        except Exception as error:
            raise translation(error, f"running {self.name}") from error
        finally:
            if charged:
                self._leave_workspace(shrink)

    def _run_in_chunks(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Mapping[str, np.ndarray],
        items: int,
        shrink: bool,
    ) -> list[np.ndarray]:
        parts = []
        for start in range(0, items, self.batch_size):
            count = min(self.batch_size, items - start)
            chunk = dict(inputs)
            for name in self.batched:
                chunk[name] = self._chunk(inputs[name], start, count)
            last = start + count == items
            outputs = session.run(None, chunk, self._shrinking if shrink and last else None)
            parts.append([self._cut(output, count) for output in outputs])
        return [
            np.concatenate([np.atleast_1d(part) for part in column]) for column in zip(*parts, strict=True)
        ]

    def _chunk(self, array: np.ndarray, start: int, count: int) -> np.ndarray:
        chunk = array[start : start + count]
        if not self._fixed or count == self.batch_size:
            return chunk
        return np.concatenate([chunk, np.repeat(chunk[-1:], self.batch_size - count, axis=0)])

    def _cut(self, output: Any, count: int) -> Any:
        filled_up = self._fixed and count < self.batch_size
        if filled_up and isinstance(output, np.ndarray) and output.shape[:1] == (self.batch_size,):
            return output[:count]
        return output

    def _take_workspace(self) -> None:
        """Charge the workspace as an arena takes it: from the first run until closed, or until shrunk."""
        assert self._device is not None
        with self._lock:
            if not self._workspace_held:
                self._device.admit(self._workspace_bytes, f"running {self.name}")
                self._workspace_held = True
            self._running += 1

    def _leave_workspace(self, shrink: bool) -> None:
        """A run has ended."""
        assert self._device is not None
        with self._lock:
            self._running -= 1
            if shrink and self._running == 0 and self._workspace_held:
                self._device.give_back(self._workspace_bytes)
                self._workspace_held = False

    def close(self) -> None:
        """Drop the session and give its memory back; closing twice is allowed."""
        with self._lock:
            session, self._session = self._session, None
            if session is None:
                return
            leftover = weakref.ref(session)
            del session
            if leftover() is not None:  # a reference cycle holds it; a collection costs more, so only then
                gc.collect()
            if self._device is not None:
                workspace = self._workspace_bytes if self._workspace_held else 0
                self._device.give_back(self._charged_bytes + workspace)
                self._workspace_held = False

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_session(
    path: Path | str,
    spec: ModelSpec,
    device: Device | None,
    *,
    threads: int = 1,
    limit_bytes: int | None = None,
) -> Session:
    """Check a model's file and load it.

    Parameters
    ----------
    path : Path or str
        The ONNX file.
    spec : ModelSpec
        ``sha256`` is checked, ``batch_size`` is the length of a chunk, sizes are what the device is charged:
        the larger of ``vram_size_mb`` and the file at once, ``workspace_mb`` from the first run on.
    device : Device or None
        Where it is to live; None for a session on the CPU, which no budget counts.
    threads : int
        Threads within one operator.
    limit_bytes : int, optional
        What the session's arena may take on CUDA. By default the spec's footprint if its workspace is known
        (otherwise weights alone would fit, and every run would fail), else unlimited.

    Raises
    ------
    BadModelFile
        If the file is refused before anything loads it.
    OutOfMemory, CorruptModel, SessionError
        If the load failed; the device holds nothing of it then.
    """
    path = Path(path)
    checked = check_model_file(path, spec.sha256)
    doing = f"loading {path.name}"
    options = _session_options(threads, device)
    if device is None:
        with translated(doing, loading=True):
            session = _load(path, options, ["CPUExecutionProvider"])
        return Session(session, path.name, spec.batch_size, None)
    if limit_bytes is None and spec.workspace_mb > 0:
        limit_bytes = spec.footprint_bytes
    charge = max(mib_to_bytes(spec.vram_size_mb), checked.size_bytes)
    device.admit(charge, doing)
    try:
        before = None if device.keeps_ledger else device.memory().process_bytes
        with translated(doing, loading=True):
            session = _load(path, options, device.providers(limit_bytes))
        taken: int | None = charge
        if not device.keeps_ledger:
            after = device.memory().process_bytes
            taken = after - before if after is not None and before is not None else None
    except BaseException:
        device.give_back(charge)
        raise
    workspace = mib_to_bytes(spec.workspace_mb)
    return Session(session, path.name, spec.batch_size, device, charge, workspace, taken)


def _load(path: Path, options: onnxruntime.SessionOptions, providers: Any) -> onnxruntime.InferenceSession:
    # Without enable_fallback=0 a session that CUDA has no room for would quietly be made on the CPU.
    session = onnxruntime.InferenceSession(str(path), options, providers=providers, enable_fallback=0)
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if wanted not in session.get_providers():
        raise SessionError(f"loading {path.name}: {wanted} did not load, and the session would run elsewhere")
    return session


def _session_options(threads: int, device: Device | None) -> onnxruntime.SessionOptions:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and said once
    if threads > 1:  # threads that spin after a run take the cores from other models
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if device is None or device.keeps_ledger:
        # On the CPU: keep weights as they are read. Repacking them makes a second copy, and loading up to
        # four times as long, for runs that are a tenth to a quarter faster in larger batches.
        options.add_session_config_entry("session.disable_prepacking", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    return options


def make_inputs(model: Session | Path | str, items: int, rng: np.random.Generator) -> Arrays:
    """Inputs that fit a model, whatever its inputs are.

    Parameters
    ----------
    model : Session, Path or str
        A loaded model, or its file, which need not be loaded for this.
    items : int
        Length of the batch axis.
    rng : Generator
        Numbers are drawn from it: standard normal, or small integers (which are valid as indices).

    Raises
    ------
    InputError
        For a file that is no model, and an input that is no tensor of numbers, switches or text.
    """
    if isinstance(model, Session):
        name, arguments = model.name, model.inputs
    else:
        name, arguments = str(model), list(check_model_file(model).inputs)
    batched, _ = _batch_axis(arguments)
    lengths: dict[str, int] = {}
    inputs: Arrays = {}
    for argument in arguments:
        dtype = _DTYPES.get(argument.type)
        if dtype is None:
            raise InputError(name, f"input {argument.name}", argument.type, "a tensor of a common type")
        shape = []
        for axis, length in enumerate(argument.shape):
            if axis == 0 and argument.name in batched:
                shape.append(items)
            elif isinstance(length, int):
                shape.append(length)
            else:
                fitting = _open_length(argument.shape, axis)
                shape.append(lengths.setdefault(length, fitting) if length else fitting)
        inputs[argument.name] = _values(tuple(shape), np.dtype(dtype), rng)
    return inputs


def _values(shape: tuple[int, ...], dtype: np.dtype[Any], rng: np.random.Generator) -> np.ndarray:
    if dtype.kind == "f":
        return rng.standard_normal(shape, dtype=np.float32).astype(dtype, copy=False)
    if dtype.kind == "O":
        return np.full(shape, "text", dtype=object)
    highest = 256 if dtype == np.uint8 else 2  # pixels, else indices and switches
    return rng.integers(0, highest, shape).astype(dtype)


def _open_length(shape: Sequence[Any], axis: int) -> int:
    """A length for an axis that the model leaves open: images have four axes, anything else is a sequence."""
    if len(shape) != 4:
        return _LENGTH
    channels_last = shape[3] in (1, 3, 4)
    return _CHANNELS if axis == 1 and not channels_last else _PIXELS


def _described(argument: Any) -> InputInfo:
    return InputInfo(argument.name, tuple(argument.shape), argument.type)


def _batch_axis(inputs: Sequence[InputInfo]) -> tuple[tuple[str, ...], int | None]:
    """Inputs that have a batch axis, and its length where the model fixes it."""
    if not inputs or len(inputs[0].shape) < 2:
        return (), None
    length = inputs[0].shape[0]
    names = tuple(argument.name for argument in inputs if argument.shape and argument.shape[0] == length)
    return names, length if isinstance(length, int) else None


def _items(inputs: Mapping[str, np.ndarray], batched: tuple[str, ...]) -> int:
    if not batched:
        return 0  # one chunk
    items = None
    for name in batched:
        if name in inputs:
            length = len(inputs[name])
            if items is None:
                items = length
            elif length != items:
                lengths = {name: len(inputs[name]) for name in batched if name in inputs}
                raise SessionError(f"inputs differ in their number of items: {lengths}")
    return items or 0
