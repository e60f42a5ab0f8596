"""onnxruntime sessions: made from checked files, run, dropped for good.

One :class:`Session` is one model on one device, or on the CPU as second best. It blocks: an asynchronous
driver calls it from worker threads (a run releases the interpreter's lock). An answer is never changed:
:meth:`Session.run` returns what one ``InferenceSession.run`` returns. Where a request is split nevertheless,
that was shown to make no difference (:mod:`vramlab.live.batches`).
"""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from vramlab.config.schema import ModelSpec, SessionSettings
from vramlab.config.units import mib_to_bytes
from vramlab.live.batches import batch_axis, run_split
from vramlab.live.device_facts import Device
from vramlab.live.errors import SessionError, translated, translation
from vramlab.live.heap import settle_heap
from vramlab.live.model_files import ModelFile, check_model_file
from vramlab.live.values import Feeds, InputInfo, Signature

# What onnxruntime says of a run that failed for its inputs, rather than for what became of them.
_ABOUT_INPUTS = re.compile(
    r"input feed|Invalid input name|input data type|Invalid rank for input|dimensions for input|handle object"
    r"|inhomogeneous|setting an array element|Numpy_type|convert|has no data|OrtValue|DataTypeImpl"
    r"|Missing Input|input list",
    re.IGNORECASE,
)
_LEVELS = {
    "disable": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


class Session:
    """One loaded model; made by :func:`make_session`.

    Parameters
    ----------
    session : InferenceSession
        onnxruntime's.
    name : str
        The file's name, for messages.
    spec : ModelSpec
        ``batch_size`` is the most items of one run where ``splits`` says that a request may be split.
    device : Device or None
        None on the CPU.
    charged_bytes : int
        What the device was charged for the load.
    taken_bytes : int or None
        What the load was seen to take on the device: its charge where the device keeps a ledger, else the
        growth of this process's memory there. None on the CPU, and where the driver does not say.
    refuses_empty : bool
        Whether inputs with an axis of length 0 are refused (:class:`~vramlab.live.values.Signature`).

    Attributes
    ----------
    signature : Signature
        Inputs and outputs as the model describes them.
    axis : BatchAxis or None
        What looks like a batch.
    batch_size : int
        Most items of one run: as fixed in the file, else the spec's.
    identity : tuple
        Of the file; another one, if it was replaced.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        name: str,
        spec: ModelSpec,
        device: Device | None,
        charged_bytes: int = 0,
        taken_bytes: int | None = None,
        refuses_empty: bool = False,
    ) -> None:
        self.name = name
        # Copies: onnxruntime's own descriptions keep the whole session alive, and its memory with it.
        self.signature = Signature(
            name,
            [_described(argument) for argument in session.get_inputs()],
            [_described(argument) for argument in session.get_outputs()],
            [_described(argument) for argument in session.get_overridable_initializers()],
            refuses_empty,
        )
        self.taken_bytes = taken_bytes
        self.identity: tuple[Any, ...] = ()
        self.axis = batch_axis(self.signature.inputs)
        fixed = None if self.axis is None else self.axis.fixed
        self.batch_size = fixed or spec.batch_size
        self._split_axis = self.axis if spec.splits else None
        self._session: onnxruntime.InferenceSession | None = session
        self._device = device
        self._charged_bytes = charged_bytes
        self._workspace_bytes = 0 if device is None else mib_to_bytes(spec.workspace_mb)
        self._workspace_held = False
        self._running = 0
        self._lock = threading.Lock()
        self._shrinking = onnxruntime.RunOptions()
        arena = device.arena if device is not None else "cpu:0"
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", arena)

    def run(self, inputs: Mapping[str, Any], *, shrink: bool = False) -> list[Any]:
        """Run the model.

        Outputs are copies: onnxruntime's own arrays keep the whole arena in which they lie, hundreds of
        megabytes for some models, until the last of them is freed.

        Parameters
        ----------
        inputs : mapping of str to array, list or None
            By the names of the model's inputs.
        shrink : bool
            Give the arena's free memory back after the run.

        Returns
        -------
        list
            What ``InferenceSession.run`` returns: an array per tensor, a list per sequence, a dict per map.

        Raises
        ------
        OutOfMemory
            If the workspace found no room.
        SessionError
            If the run failed otherwise, or the session is closed. Inputs that do not fit are named.
        """
        session = self._session
        if session is None:
            raise SessionError(f"running {self.name}: the session is closed")
        # No context managers: a run is short, and what they cost would be seen beside it.
        if self._workspace_bytes:
            self._take_workspace()
        try:
            if self._split_axis is not None and self._is_to_be_split(inputs):
                return self._run_split(session, inputs, shrink)
            return self._run_whole(session, inputs, self._shrinking if shrink else None)
        finally:
            if self._workspace_bytes:
                self._leave_workspace(shrink)

    def run_whole(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Run all items at once, whatever may be split."""
        if self._session is None:
            raise SessionError(f"running {self.name}: the session is closed")
        return self._run_whole(self._session, inputs, None)

    def _run_whole(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], options: Any
    ) -> list[Any]:
        try:
            if self.signature.plain:
                made: list[Any] = session.run(None, inputs, options)
            else:
                made = self.signature.run(session, inputs, options)
        except SessionError:
            raise
        except Exception as error:
            raise self._failure(inputs, error) from error
        return [_own(output) for output in made]

    def _failure(self, inputs: Mapping[str, Any], error: Exception) -> SessionError:
        """What a run that raised has failed for; inputs are looked at only now, as most are right."""
        failure = translation(error, f"running {self.name}")
        if failure.kind != "failed" or not _ABOUT_INPUTS.search(str(error)):
            return failure
        fault = self.signature.fault(inputs)
        if fault is None:
            return failure
        axis = self.axis
        if axis is not None and axis.fixed and axis.items(inputs) != axis.fixed:
            return type(fault)(
                f"{fault} (the file fixes the batch; `vramlab profile` shows whether requests may be split)"
            )
        return fault

    def _is_to_be_split(self, inputs: Mapping[str, Any]) -> bool:
        assert self._split_axis is not None
        items, fixed = self._split_axis.items(inputs), self._split_axis.fixed
        return items > 0 and (items > self.batch_size if fixed is None else items != fixed)

    def _run_split(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], shrink: bool
    ) -> list[Any]:
        assert self._split_axis is not None

        def run(chunk: Feeds) -> list[Any]:
            return self._run_whole(session, chunk, self._shrinking if shrink else None)

        inputs = {name: self.signature.as_array(name, value) for name, value in inputs.items()}
        missing = [name for name in self._split_axis.names if name not in inputs]
        if missing:
            raise SessionError(f"{self.name}: input {missing[0]}: found nothing, expected a value")
        return run_split(run, inputs, self._split_axis, self.batch_size)

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
            settle_heap()
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
        ``sha256`` is checked, sizes are what the device is charged: the larger of ``vram_size_mb`` and the
        file at once, ``workspace_mb`` from the first run on.
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
    if device is None:
        with translated(doing, loading=True):
            session = _load(checked, _session_options(checked, spec, threads), ["CPUExecutionProvider"])
        settle_heap()
        return Session(session, path.name, spec, None, refuses_empty=checked.is_recurrent)
    if limit_bytes is None and spec.workspace_mb > 0:
        limit_bytes = spec.footprint_bytes
    charge = max(mib_to_bytes(spec.vram_size_mb), checked.size_bytes)
    device.admit(charge, doing)
    try:
        before = None if device.keeps_ledger else device.memory().process_bytes
        with translated(doing, loading=True):
            options = _session_options(checked, spec, threads)
            session = _load(checked, options, device.providers(limit_bytes))
        settle_heap()
        taken: int | None = charge
        if not device.keeps_ledger:
            after = device.memory().process_bytes
            taken = after - before if after is not None and before is not None else None
    except BaseException:
        device.give_back(charge)
        raise
    return Session(session, path.name, spec, device, charge, taken, checked.is_recurrent)


def _load(
    file: ModelFile, options: onnxruntime.SessionOptions, providers: Any
) -> onnxruntime.InferenceSession:
    # Without enable_fallback=0 a session that CUDA has no room for would quietly be made on the CPU.
    session = onnxruntime.InferenceSession(str(file.path), options, providers=providers, enable_fallback=0)
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if wanted not in session.get_providers():
        name = file.path.name
        raise SessionError(f"loading {name}: {wanted} did not load, and the session would run elsewhere")
    return session


def _session_options(file: ModelFile, spec: ModelSpec, threads: int) -> onnxruntime.SessionOptions:
    """onnxruntime's options: its defaults, but for one thread per run, and what the inventory says."""
    wanted: SessionSettings = spec.session_options
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = wanted.intra_op_num_threads or threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what fails is raised, and said once
    if options.intra_op_num_threads > 1:  # threads that spin after a run take the cores from other models
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if wanted.graph_optimization_level is not None:
        options.graph_optimization_level = _LEVELS[wanted.graph_optimization_level]
    if wanted.enable_mem_pattern is not None:
        options.enable_mem_pattern = wanted.enable_mem_pattern
    if wanted.enable_cpu_mem_arena is not None:
        options.enable_cpu_mem_arena = wanted.enable_cpu_mem_arena
    if not wanted.prepacking:
        options.add_session_config_entry("session.disable_prepacking", "1")
    if file.is_ort_format:
        options.add_session_config_entry("session.load_model_format", "ORT")
    for key, value in wanted.config.items():
        options.add_session_config_entry(key, value)
    for library in spec.custom_ops:
        options.register_custom_ops_library(library)
    return options


def _own(output: Any) -> Any:
    if isinstance(output, np.ndarray):
        return output.copy()
    return [_own(item) for item in output] if isinstance(output, list) else output


def _described(argument: Any) -> InputInfo:
    return InputInfo(argument.name, tuple(argument.shape), argument.type)
