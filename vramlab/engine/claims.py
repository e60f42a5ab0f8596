"""Claims: loads that wait for their bytes, which victims give back or a budget that rises has."""

from __future__ import annotations

from vramlab.config.units import ms_to_s
from vramlab.engine.desk import Desk
from vramlab.engine.effects import EffectFailed, Failure, Story, Wait
from vramlab.engine.gates import Gate

_NO_BYTES = "the device has too little memory left"


class Claims:
    """The claims of one engine, by model; in which order they are met is the allocator's affair.

    Parameters
    ----------
    desk : Desk
        Whose allocator has promised the bytes.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        # The bytes of victims come within milliseconds; those of a device that has shrunk may never.
        self._timeout_s = ms_to_s(desk.config.serving.release_timeout_ms)
        self._gates: dict[str, Gate] = {}

    def __len__(self) -> int:
        return len(self._gates)

    def wait(self, name: str) -> Story:
        """Wait until the bytes for a load are there; raises EffectFailed if they do not come.

        The value is the time.
        """
        gate = self._gates[name] = self._gates.get(name) or Gate(self._desk.ready)
        now_s, given_up = yield Wait(gate, self._timeout_s)
        if given_up:
            raise EffectFailed(now_s, Failure.TIMED_OUT, given_up if isinstance(given_up, str) else _NO_BYTES)
        return now_s

    def drop(self, name: str) -> None:
        """The load has ended, whether or not it still waits here."""
        self._gates.pop(name, None)

    def give_up(self, name: str) -> bool:
        """End a load that waits for its bytes, as failed. Returns whether it does wait."""
        gate = self._gates.pop(name, None)
        if gate is None:
            return False
        gate.open(_NO_BYTES)
        return True

    def met(self, names: list[str], now_s: float) -> None:
        """Let the loads go on that have got their bytes."""
        for name in names:
            gate = self._gates.pop(name, None)
            if gate is not None:
                gate.open()
        self._desk.usage(now_s)

    def set_budget(self, budget_bytes: int, now_s: float) -> None:
        """The device has so many bytes for models from now on."""
        self.met(self._desk.allocator.set_budget(budget_bytes), now_s)
        self._desk.decider.freed(now_s)
