"""The live runtime: real ONNX Runtime sessions under the allocator, for a program that serves requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from vramlab.config.errors import InputError, nearest
from vramlab.config.loading import check_fit
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.journal import Journal
from vramlab.engine.records import Outcome, Recorder, Records
from vramlab.engine.serving import Answer, Engine
from vramlab.live.backend import OnnxBackend
from vramlab.live.driver import LiveDriver
from vramlab.live.journal_file import JournalFile

Inputs = Mapping[str, npt.NDArray[Any]]
_FLUSH_EVERY_S = 0.5


class RequestRefused(RuntimeError):
    """A request was not served: no room for a model that may not run on the CPU, or a full queue."""


class RequestFailed(RuntimeError):
    """A request's model could not be loaded, or raised while it ran."""


class LiveRuntime:
    """Serves requests with live sessions, deciding which models stay in VRAM.

    Use it as an asynchronous context manager; what is always loaded is loaded when it opens.

    Parameters
    ----------
    config : VramConfig
        Settings.
    inventory : dict of str to ModelSpec
        Models, each with the ``path`` of its ONNX file.
    device : str
        ``auto`` (CUDA where it truly works), ``cuda`` or ``cpu-emulated``.
    journal : Path or str, optional
        File for the journal, written while the run goes on.

    Raises
    ------
    InputError
        For a model without a file, settings that do not go together, or a device that is not to be had.

    Examples
    --------
    >>> async def main():
    ...     async with LiveRuntime(config, inventory) as runtime:
    ...         outputs = await runtime.infer("genderage.onnx", {"input": image})
    """

    def __init__(
        self,
        config: VramConfig,
        inventory: Inventory,
        device: str = "auto",
        journal: Path | str | None = None,
    ) -> None:
        check_fit(config, inventory, "configuration", "inventory")
        self.config, self.inventory = config, inventory
        self.backend = OnnxBackend(config, inventory, device)
        self.recorder = Recorder(list(config.zones))
        self.journal: Journal = Journal() if journal is None else JournalFile(journal)
        self.engine = Engine(config, inventory, self.recorder, self.journal)
        self._driver: LiveDriver | None = None
        self._under_way: set[asyncio.Future[Answer]] = set()
        self._flusher: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LiveRuntime:
        self._driver = LiveDriver(self.engine, self.backend, self.journal)
        if isinstance(self.journal, JournalFile):
            self._flusher = asyncio.create_task(_flush_regularly(self.journal))
        await self._driver.run_story("start")
        if self.config.optimization.monitor:
            self._driver.begin("monitor", self._driver.clock())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Finish what is under way, then drop all sessions."""
        if self._under_way:
            await asyncio.wait(self._under_way)
        await self.driver.settle()
        if self._flusher is not None:
            self._flusher.cancel()
        await asyncio.to_thread(self.driver.close)
        if isinstance(self.journal, JournalFile):
            self.journal.close()

    @property
    def driver(self) -> LiveDriver:
        """The driver; there is one only inside ``async with``."""
        if self._driver is None:
            raise RuntimeError("the runtime is not open: use `async with LiveRuntime(...) as runtime`")
        return self._driver

    async def infer(
        self,
        model: str,
        inputs: Inputs,
        *,
        requester: str | None = None,
        priority: Priority | str | None = None,
        input_key: str | None = None,
    ) -> list[npt.NDArray[Any]]:
        """Run a model, wherever it can be run.

        Parameters
        ----------
        model : str
            Name in the inventory.
        inputs : mapping of str to ndarray
            By name; the first axis is the batch.
        requester : str, optional
            Who asks, for the journal.
        priority : Priority or str, optional
            Where it differs from the model's.
        input_key : str, optional
            Requests of one model with equal keys have equal answers, which may come from the result cache.

        Returns
        -------
        list of ndarray
            The model's outputs.

        Raises
        ------
        RequestRefused, RequestFailed
            If it was not served, with the reason.
        """
        answer = await self.submit(model, inputs, requester=requester, priority=priority, input_key=input_key)
        if answer.outcome is Outcome.REFUSED:
            raise RequestRefused(f"{model}: {answer.why}")
        if answer.outcome is Outcome.FAILED:
            raise RequestFailed(f"{model}: {answer.why}")
        return list(answer.outputs)

    async def submit(
        self,
        model: str,
        inputs: Inputs,
        *,
        requester: str | None = None,
        priority: Priority | str | None = None,
        input_key: str | None = None,
    ) -> Answer:
        """As :meth:`infer`, but the answer says how the request ended, and a refusal is an answer too."""
        if model not in self.inventory:
            expected = f"a model of the inventory{nearest(model, self.inventory)}"
            raise InputError("request", "model", repr(model), expected)
        driver = self.driver
        now_s = driver.clock()
        number = self.recorder.arrived(model, now_s)
        items = max(
            (int(np.shape(value)[0]) if np.ndim(value) else 1 for value in inputs.values()), default=1
        )
        asked = None if priority is None else Priority(priority).value
        future = driver.submit(number, model, inputs, now_s, items, asked, requester, input_key)
        self._under_way.add(future)
        future.add_done_callback(self._under_way.discard)
        return await future

    def records(self) -> Records:
        """Outcomes, loads and evictions so far."""
        return self.recorder.records()


async def _flush_regularly(journal: JournalFile) -> None:
    while True:
        await asyncio.sleep(_FLUSH_EVERY_S)
        journal.flush()
