"""Where the live driver's sessions come from: ONNX files on a device, and on the CPU as second best."""

from __future__ import annotations

from typing import Any

import numpy as np

from vramlab.config.errors import InputError
from vramlab.config.schema import Inventory, ModelSpec, VramConfig
from vramlab.engine.effects import MemoryReading, Target
from vramlab.live.cores import Cores, shared_out
from vramlab.live.devices import choose_device, describe
from vramlab.live.errors import CorruptModel
from vramlab.live.model_files import identity_of
from vramlab.live.sessions import Session, make_inputs, make_session
from vramlab.live.stand_ins import is_stand_in


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
        ``auto``, ``cuda`` or ``cpu-emulated``.

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
        self.device = choose_device(
            device, budget_bytes=config.budget_bytes, overhead_bytes=config.overhead_bytes
        )
        self.cores = shared_out(config.serving.gpu_streams) if self.device.keeps_ledger else Cores()
        self._inventory = inventory
        self._buffer_bytes = config.overhead_bytes - config.overhead.taken_bytes
        self._warm_up = config.serving.warm_up
        self._budget_bytes = config.budget_bytes

    def open(self, model: str, target: Target, size_bytes: int | None = None) -> Session:
        """Make a session, and run it once if that is the setting; blocks.

        Where more than the spec's footprint is reserved for it (`size_bytes`), it may take that much.
        """
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
        if self._warm_up:
            try:
                session.run(make_inputs(session, 1, np.random.default_rng(0)))
            except BaseException:
                session.close()
                raise
        return session

    def has_room_for(self, *models: str) -> bool:
        """Whether the device's budget is enough for all of these at once, workspaces included."""
        return sum(self._inventory[name].footprint_bytes for name in models) <= self._budget_bytes

    def memory(self) -> MemoryReading:
        """What the device says of its memory."""
        memory = self.device.memory()
        # the emulated device counts the whole overhead; its buffer is what should stay free
        buffer = self._buffer_bytes if self.device.keeps_ledger else 0
        return MemoryReading(memory.total_bytes, memory.used_bytes - buffer)

    @property
    def stand_ins(self) -> list[str]:
        """Models that are served by stand-ins, as the inventory says."""
        return [name for name, spec in self._inventory.items() if spec.stand_in_mb is not None]

    def describe(self) -> dict[str, Any]:
        """Device, versions and cores, in plain values."""
        cores = len(self.cores.device or ())
        return describe(self.device) | {"backend": self.device.label, "device_cores": cores}


def _check_no_stand_in(name: str, spec: ModelSpec) -> None:
    """Refuse random weights in a model's place, unless the inventory says that this is what is wanted."""
    if spec.stand_in_mb is None and spec.path is not None and is_stand_in(spec.path):
        expected = "the model itself, or stand_in_mb to serve random weights"
        raise InputError("inventory", f"models.{name}.path", f"{spec.path}, a stand-in", expected)
