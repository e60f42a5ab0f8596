"""Where the live driver's sessions come from: ONNX files on a device, and on the CPU as second best."""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from typing import Any

import numpy as np

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.config.units import bytes_to_mib, mib_to_bytes
from vramlab.engine.effects import MemoryReading, Target
from vramlab.live.batches import BatchAxis, batch_axis, why_not_split
from vramlab.live.cores import Cores, shared_out
from vramlab.live.devices import choose_device, describe
from vramlab.live.errors import BadModelFile, CorruptModel, OutOfMemory, OwnLimit, SessionError
from vramlab.live.heap import set_heap
from vramlab.live.inputs import RECIPES, Recipe, fitting_recipe, make_inputs
from vramlab.live.model_files import check_model_file, identity_of
from vramlab.live.onnx_sessions import Session, make_session
from vramlab.live.stand_ins import is_stand_in
from vramlab.live.values import Feeds

_LOG = logging.getLogger(__name__)
_TRYING_S = 1.0  # for inputs of a first run, once per model: a load waits for it
_UNTRIED: Any = object()


class OnnxBackend:
    """Makes onnxruntime sessions of the models of an inventory.

    Parameters
    ----------
    config : VramConfig
        Gives the emulated device its budget, and says whether a load ends with a first run
        (``serving.warm_up``).
    inventory : dict of str to ModelSpec
        Every model with the ``path`` of its file.
    device : str
        ``auto``, ``cuda``, ``cpu-emulated`` or ``cpu-arena``.

    Attributes
    ----------
    axes : dict of str to BatchAxis or None
        What looks like the batch of each model, as far as it was looked at.

    Raises
    ------
    InputError
        For a model without a file, a stand-in that the inventory does not call one, or a device that is not
        to be had.
    """

    def __init__(self, config: VramConfig, inventory: Inventory, device: str = "auto") -> None:
        for name, spec in inventory.items():
            if spec.path is None:
                raise InputError("inventory", f"models.{name}.path", "nothing", "the path of its ONNX file")
            _check_no_stand_in(name, spec)
        streams = config.serving.gpu_streams
        self.device = choose_device(
            device,
            budget_bytes=config.budget_bytes,
            overhead_bytes=config.overhead_bytes,
            shared_bytes=config.shared_bytes(inventory),
            streams=streams,
            tf32=config.serving.tf32,
        )
        self.cores = shared_out(streams) if self.device.emulated else Cores()
        if self.device.threads is not None:
            self.device.threads.keep_to(self.cores.device)
        self._inventory = inventory
        self.axes: dict[str, Any] = {}
        self._shown: set[str] = set()
        self._recipes: dict[str, Any] = {}  # that a model was seen to run with; None: there is none
        self._buffer_bytes = config.overhead_bytes - config.overhead.taken_bytes
        self._warm_up = config.serving.warm_up
        self._heap = set_heap(config.serving.heap)
        self._room_bytes = config.room_bytes(inventory)
        self._held = config.held(inventory)

    def open(self, model: str, target: Target, size_bytes: int | None = None) -> Session:
        """Make a session, and run it once if that is the setting; blocks.

        Where more than the spec's footprint is reserved for it (`size_bytes`), it may take that much.
        """
        session = self.load(model, target, size_bytes)
        try:
            first = self._recipes.get(model, _UNTRIED) is _UNTRIED
            self.warm_up(model, session)
            session.seen()
            found = self._recipes.get(model)
            if first and found is not None and (session.has_arena or found is not RECIPES[0]):
                # what was tried has left regions in the arena, and the largest batch comes first
                session.close()
                session = self.load(model, target, size_bytes)
                self.warm_up(model, session)
                session.seen()
        except BaseException:
            session.close()
            raise
        return session

    def load(self, model: str, target: Target, size_bytes: int | None = None) -> Session:
        """Make a session that has not run yet."""
        spec = self._inventory[model]
        assert spec.path is not None
        try:
            _check_no_stand_in(model, spec)
        except InputError as error:
            raise CorruptModel(str(error)) from error
        limit = size_bytes if spec.workspace_mb and (size_bytes or 0) > spec.footprint_bytes else None
        device = self.device if target is Target.GPU else None
        identity = identity_of(spec.path)  # before the load: what changes during it is another file next time
        session = make_session(spec.path, spec, device, limit_bytes=limit)
        session.identity = identity
        self.axes[model] = session.axis  # which a file in ORT format does not tell
        return session

    def warm_up(self, model: str, session: Session) -> None:
        """Do the first run, if that is the setting; in an arena, that of the largest batch before.

        Ascending batches leave a region each, which none of the larger ones can use. A run
        on inputs that were only guessed may fail; the model is served without it then, from now on.
        """
        spec = self._inventory[model]
        if spec.splits and model not in self._shown:
            # a stand-in is ours, and known to take each item by itself
            if not is_stand_in(str(spec.path)):
                self._show(model, session, spec)
            self._shown.add(model)
        known = self._recipes.get(model, _UNTRIED)
        if not self._warm_up or known is None:
            return
        try:
            if known is _UNTRIED:
                self._recipes[model] = fitting_recipe(session, spec, _TRYING_S)
            elif session.has_arena:
                _run_largest_first(session, spec, known)
            else:
                session.run(_inputs(session, spec, known, 1))
        except (SessionError, InputError) as error:
            # an arena too small for its first run would be too small for all
            if spec.inputs is not None or (session.has_arena and isinstance(error, OutOfMemory)):
                raise
            self._recipes[model] = None
            _LOG.warning("no first run of %s: %s", model, error, extra={"model": model})

    def _show(self, model: str, session: Session, spec: ModelSpec) -> None:
        """Try once, with few items, whether requests may be split, as the inventory says.

        The file may be another by now, or the declaration one by hand. A load waits for it: three short runs.

        Raises
        ------
        SessionError
            If split and whole answers differ, or nothing can be tried.
        """
        undeclared = spec.model_copy(update={"splits": False})
        recipe = fitting_recipe(session, undeclared)
        why_not = "no input has a batch"
        if session.axis is not None:
            why_not = why_not_split(
                lambda inputs: _whole_in_room(session, inputs),
                lambda items: make_inputs(session, items, np.random.default_rng(items), recipe, undeclared),
                session.axis,
                session.axis.fixed or 1,
                (2,),
            )
        if why_not:
            raise SessionError(f"loading {session.name}: splits: true, and {why_not}; profile it again")

    def find_recipe(self, model: str, session: Session) -> Recipe:
        """The recipe of inputs that the model was seen to run with; tried for longer than a load would wait.

        Raises
        ------
        NoInputs
            If there is none.
        """
        found = self._recipes.get(model)
        if found is None:
            found = self._recipes[model] = fitting_recipe(session, self._inventory[model])
        assert isinstance(found, Recipe)
        return found

    def axis_of(self, model: str) -> BatchAxis | None:
        """What looks like a model's batch, before its first load."""
        path = self._inventory[model].path
        assert path is not None
        try:
            axis = batch_axis(check_model_file(path).inputs)
        except BadModelFile:  # its load says what is wrong
            axis = None
        self.axes[model] = axis
        return axis

    def named(self, model: str, array: Any) -> dict[str, Any]:
        """Name a lone array, for a model of one input.

        Raises
        ------
        InputError
            For a model of several inputs, naming them, and where the file does not say what they are.
        """
        path = self._inventory[model].path
        assert path is not None
        try:
            names = [one.name for one in check_model_file(path).inputs]
        except BadModelFile as error:
            expected = f"a mapping from names to arrays: what {model} takes is not known ({error})"
            raise InputError("request", "inputs", "a lone array", expected) from error
        if len(names) != 1:
            takes = ", ".join(names) or "inputs that its file does not name"
            expected = f"a mapping from names to arrays: {model} takes {takes}"
            raise InputError("request", "inputs", "a lone array", expected)
        return {names[0]: array}

    def memory(self) -> MemoryReading:
        """What the device says of its memory, with what it still owes to models that are there.

        The allocator's ledger counts a workspace from the load on, the device from the first run on. Memory
        that is both held and available would be given away twice.
        """
        memory = self.device.memory()
        # the emulated device counts the whole overhead; its buffer is what should stay free
        buffer = self._buffer_bytes if self.device.emulated else 0
        taken = self.device.taken_bytes()
        owed = 0 if taken is None else max(0, self.device.promised_bytes() - taken)
        return MemoryReading(memory.total_bytes, memory.used_bytes - buffer + owed)

    def others_bytes(self) -> int | None:
        """What other processes have taken of the device; None where it does not say."""
        return self.device.memory().others_bytes

    @property
    def stand_ins(self) -> list[str]:
        """Models that are served by stand-ins, as the inventory says."""
        return [name for name, spec in self._inventory.items() if spec.stand_in_mb is not None]

    def describe(self) -> dict[str, Any]:
        """Device, versions and cores, in plain values."""
        cores = len(self.cores.device or ())
        known = {"backend": self.device.label, "device_cores": cores, "heap": self._heap}
        return describe(self.device) | known


def _inputs(session: Session, spec: ModelSpec, recipe: Recipe, items: int) -> Feeds:
    return make_inputs(session, items, np.random.default_rng(0), recipe, spec)


def _run_largest_first(session: Session, spec: ModelSpec, recipe: Recipe) -> None:
    """Run the largest batch, then a single item; raises `SessionError`."""
    if session.axis is not None and not session.axis.fixed and session.batch_size > 1:
        try:
            _run_in_room(session, _inputs(session, spec, recipe, session.batch_size))
        except OutOfMemory:
            raise
        except SessionError as error:  # what looks like a batch is none
            _LOG.debug("%s runs with one item only: %s", session.name, error)
    _run_in_room(session, _inputs(session, spec, recipe, 1))


def _run_in_room(session: Session, inputs: Feeds) -> None:
    """Run; where an arena is full of regions that do not fit, in one that was shrunk.

    Raises
    ------
    SessionError
        If it fails all the same.
    """
    for run in (session.run, session.run_and_shrink):
        try:
            run(inputs)
            return
        except OwnLimit:  # the second leaves the arena shrunk, though it fails
            continue
    session.run(inputs)


def _whole_in_room(session: Session, inputs: Feeds) -> list[Any]:
    """As :func:`_run_in_room`, all items at once; the value is the answer."""
    try:
        return session.run_whole(inputs)
    except OwnLimit:
        with suppress(OwnLimit):
            session.run_and_shrink(inputs)
        return session.run_whole(inputs)


def _check_no_stand_in(name: str, spec: ModelSpec) -> None:
    """Refuse random weights in a model's place, unless the inventory says that this is what is wanted."""
    if spec.stand_in_mb is None and spec.path is not None and is_stand_in(spec.path):
        expected = "the model itself, or stand_in_mb to serve random weights"
        raise InputError("inventory", f"models.{name}.path", f"{spec.path}, a stand-in", expected)


def with_file_sizes(inventory: Inventory) -> Inventory:
    """The inventory, where no model's size is less than that of its file and external data together.

    With a smaller one the device would be full while the allocator's ledger has room.
    """
    sized = dict(inventory)
    for name, spec in inventory.items():
        if spec.path is None:
            continue
        try:
            size_bytes = check_model_file(spec.path).size_bytes
        except BadModelFile:  # its load says what is wrong with it
            continue
        if size_bytes > mib_to_bytes(spec.vram_size_mb):
            size_mb = math.ceil(bytes_to_mib(size_bytes) * 1000) / 1000
            said = "%s: its file takes %.1f MB, and the inventory says %.1f MB: the file's size is reserved"
            _LOG.warning(said, name, size_mb, spec.vram_size_mb)
            sized[name] = spec.model_copy(update={"vram_size_mb": size_mb})
    return sized
