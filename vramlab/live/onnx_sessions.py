"""onnxruntime sessions: made from checked files, run, dropped for good.

One :class:`Session` is one model on one device, or on the CPU as second best. It blocks: an asynchronous
driver calls it from worker threads (a run releases the interpreter's lock). Where a device has threads of its
own, all is done there (:mod:`vramlab.live.device_threads`). An answer is never changed: :meth:`Session.run`
returns what one ``InferenceSession.run`` returns. Where a request is split nevertheless, that was shown to
make no difference (:mod:`vramlab.live.batches`).
"""

from __future__ import annotations

import gc
import re
import threading
import weakref
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from vramlab.config.schema import ModelSpec
from vramlab.config.units import mib_to_bytes
from vramlab.live.batches import BatchAxis, batch_axis, run_split
from vramlab.live.device_facts import Demand, Device, Place
from vramlab.live.device_threads import DeviceThread
from vramlab.live.errors import DeviceFailed, OutOfMemory, SessionError, translated, translation
from vramlab.live.heap import settle_heap
from vramlab.live.model_files import ModelFile, check_model_file
from vramlab.live.opening import Made, nodes_elsewhere, opened, session_options
from vramlab.live.values import Feeds, InputInfo, Signature

# What onnxruntime says of a run that failed for its inputs, rather than for what became of them.
_ABOUT_INPUTS = re.compile(
    r"input feed|Invalid input name|input data type|Invalid rank for input|dimensions for input|handle object"
    r"|inhomogeneous|setting an array element|Numpy_type|convert|has no data|OrtValue|DataTypeImpl"
    r"|Missing Input|input list",
    re.IGNORECASE,
)
_ARRAY: Final = np.ndarray  # for the hot path


class Session:
    """One loaded model; made by :func:`make_session`.

    Parameters
    ----------
    made : Made
        onnxruntime's.
    name : str
        The file's name, for messages.
    spec : ModelSpec
        ``batch_size`` is the most items of one run where ``splits`` says that a request may be split.
    device : Device or None
        None on the CPU.
    place : Place or None
        On the device.
    thread : DeviceThread or None
        Who does everything here; None: the caller.

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
    cpu_nodes : list of str or None
        Kinds of the nodes that run on the CPU though the session is another device's, one per node; None
        where onnxruntime was not asked to write that down.
    taken_bytes : int or None
        What the session was seen to take on the device so far: its charge where the device keeps a ledger.
        None on the CPU, and where the driver does not say.
    """

    def __init__(
        self,
        made: Made,
        name: str,
        spec: ModelSpec,
        device: Device | None = None,
        place: Place | None = None,
        thread: DeviceThread | None = None,
    ) -> None:
        self.name, self._doing = name, f"running {name}"
        session = made.session
        # Copies: onnxruntime's own descriptions keep the whole session alive, and its memory with it.
        self.signature = Signature(
            name,
            [_described(argument) for argument in session.get_inputs()],
            [_described(argument) for argument in session.get_outputs()],
            [_described(argument) for argument in session.get_overridable_initializers()],
            made.refuses_empty,
        )
        self._plain = self.signature.plain
        self._outputs = [output.name for output in self.signature.outputs]  # else asked for at each run
        self.taken_bytes: int | None = None
        self.cpu_nodes = nodes_elsewhere(session)
        self.identity: tuple[Any, ...] = ()
        self.axis = batch_axis(self.signature.inputs)
        fixed = None if self.axis is None else self.axis.fixed
        self.batch_size = fixed or spec.batch_size
        self._split_axis = self.axis if spec.splits else None
        self._pad_to = () if fixed else tuple(sorted(set(spec.pad_to)))
        self._session: onnxruntime.InferenceSession | None = session
        self._again = made.again
        self._stale = False  # after memory ran out, where the device does not trust it then
        self._device, self._place, self._keeper = device, place, thread
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
        if self._keeper is not None:
            return self._keeper.do(self._run, inputs, shrink)
        return self._run(inputs, shrink)

    @property
    def has_arena(self) -> bool:
        """Whether its memory on the device is an arena's, which may have a limit."""
        return self._device is not None and self._device.has_arenas

    def run_and_shrink(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Run the model, and give the arena's free memory back, also if the run fails."""
        return self.run(inputs, shrink=True)

    def _run(self, inputs: Mapping[str, Any], shrink: bool) -> list[Any]:
        # No context managers: a run is short, and what they cost would be seen beside it.
        place, session = self._place, self._session
        if session is None or self._stale:
            session = self._usable()
        options = self._shrinking if shrink else None
        if place is None:
            return self._run_parts(session, inputs, options)
        place.begin_run(self._doing)
        try:
            return self._run_parts(session, inputs, options)
        except OutOfMemory:
            self._stale = self._device is not None and self._device.distrusts
            raise
        finally:
            place.end_run(shrink)

    def _run_parts(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], options: Any
    ) -> list[Any]:
        if self._split_axis is not None:
            if self._pad_to:
                return self._run_padded(session, inputs, options)
            if self._is_to_be_split(inputs):
                return self._run_split(session, inputs, options)
        return self._run_whole(session, inputs, options)

    def _usable(self) -> onnxruntime.InferenceSession:
        """onnxruntime's session, made anew where it is not to be trusted."""
        if self._stale:
            with self._lock:
                self._session = None
                gc.collect()
                total = None if self._device is None else self._device.memory().total_bytes
                with translated(f"loading {self.name} again", loading=True, total_bytes=total):
                    self._session = self._again()
                self._stale = False
        if self._session is None:
            raise SessionError(f"running {self.name}: the session is closed")
        return self._session

    def run_whole(self, inputs: Mapping[str, Any]) -> list[Any]:
        """Run all items at once, whatever may be split."""
        if self._keeper is not None:
            return self._keeper.do(lambda: self._run_whole(self._usable(), inputs, None))
        return self._run_whole(self._usable(), inputs, None)

    def _run_whole(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], options: Any
    ) -> list[Any]:
        try:
            if self._plain:
                made: list[Any] = session.run(self._outputs, inputs, options)
            else:
                made = self.signature.run(session, inputs, options)
        except SessionError:
            raise
        except Exception as error:
            raise self._failure(inputs, error) from error
        return [output.copy() if type(output) is _ARRAY else _own(output) for output in made]

    def _failure(self, inputs: Mapping[str, Any], error: Exception) -> SessionError:
        """What a run that raised has failed for; inputs are looked at only now, as most are right."""
        device = self._device
        total = None if device is None else device.memory().total_bytes
        failure = translation(error, f"running {self.name}", total_bytes=total)
        if failure.kind == "out of memory" and device is not None and failure.lacking_bytes is not None:
            # all that was asked for: some of it is there
            there = device.memory().available_bytes
            failure.lacking_bytes = max(1, failure.lacking_bytes - there)
        if failure.kind != "failed":
            return failure
        if not _ABOUT_INPUTS.search(str(error)):
            return failure if device is None or device.emulated else DeviceFailed(str(failure))
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

    def _run_padded(
        self, session: onnxruntime.InferenceSession, inputs: Mapping[str, Any], options: Any
    ) -> list[Any]:
        """Fill a request up to the next size that is planned for, or cut it into the largest of them."""
        assert self._split_axis is not None
        items = self._split_axis.items(inputs)
        size = next((size for size in self._pad_to if size >= items), self._pad_to[-1])
        axis = BatchAxis(self._split_axis.names, min(size, self.batch_size))
        return self._run_split(session, inputs, options, axis)

    def _run_split(
        self,
        session: onnxruntime.InferenceSession,
        inputs: Mapping[str, Any],
        options: Any,
        axis: BatchAxis | None = None,
    ) -> list[Any]:
        axis = axis or self._split_axis
        assert axis is not None

        def run(chunk: Feeds) -> list[Any]:
            return self._run_whole(session, chunk, options)

        inputs = {name: self.signature.as_array(name, value) for name, value in inputs.items()}
        missing = [name for name in axis.names if name not in inputs]
        if missing:
            raise SessionError(f"{self.name}: input {missing[0]}: found nothing, expected a value")
        return run_split(run, inputs, axis, self.batch_size)

    def seen(self) -> None:
        """Note what it has taken by now."""
        self.taken_bytes = None if self._place is None else self._place.held_bytes()

    def close(self) -> None:
        """Drop the session and give its memory back; closing twice is allowed."""
        thread, self._keeper = self._keeper, None
        if thread is None:
            self._close()
            return
        thread.do(self._close)
        if self._device is not None and self._device.threads is not None:
            self._device.threads.release(thread)

    def _close(self) -> None:
        with self._lock:
            session, self._session = self._session, None
            if session is None and not self._stale:
                return
            self._stale = False
            if session is not None:
                leftover = weakref.ref(session)
                del session
                if leftover() is not None:  # a reference cycle holds it; a collection costs more
                    gc.collect()
            settle_heap()
            if self._place is not None:
                self._place.leave()

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
            options = session_options(checked, spec, threads, {})
            made = partial(opened, checked, options, ["CPUExecutionProvider"])
            session = Session(Made(made(), made, checked.is_recurrent), path.name, spec)
        settle_heap()
        return session
    if limit_bytes is None and spec.workspace_mb > 0:
        limit_bytes = spec.footprint_bytes
    weights = max(mib_to_bytes(spec.vram_size_mb), checked.size_bytes)
    demand = Demand(weights, mib_to_bytes(spec.workspace_mb), limit_bytes)
    if device.threads is None:
        return _placed(checked, spec, device, demand, threads, None)
    thread = device.threads.assign()
    try:
        return thread.do(_placed, checked, spec, device, demand, threads, thread)
    except BaseException:
        device.threads.release(thread)
        raise


def _placed(
    file: ModelFile,
    spec: ModelSpec,
    device: Device,
    demand: Demand,
    threads: int,
    thread: DeviceThread | None,
) -> Session:
    """Make a session on a device; raises as :func:`make_session` does."""
    name = file.path.name
    doing = f"loading {name}"
    with device.placing(demand, doing) as place:
        entries = dict(place.entries)
        with translated(doing, loading=True, total_bytes=device.memory().total_bytes):
            options = session_options(file, spec, threads, entries, has_arena=device.has_arenas)
            make = partial(opened, file, options, place.providers)
            made = Made(make(), make, file.is_recurrent)
        settle_heap()
        session = Session(made, name, spec, device, place, thread)
        del made
    session.seen()
    return session


def _own(output: Any) -> Any:
    if isinstance(output, np.ndarray):
        return output.copy()
    return [_own(item) for item in output] if isinstance(output, list) else output


def _described(argument: Any) -> InputInfo:
    return InputInfo(argument.name, tuple(argument.shape), argument.type)
