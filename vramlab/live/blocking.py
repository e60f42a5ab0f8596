"""The live runtime for programs without an event loop: notebooks, scripts, threads.

A request is served in its caller's own thread: it decides, under the driver's lock, and runs the model where
it stands. Only loads, unloads and timers are for other threads. So a hit changes threads not at all.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy.typing as npt

from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.requests import Answer
from vramlab.live.interrupts import GUARD
from vramlab.live.runtime import Inputs, LiveRuntime
from vramlab.runs.records import Records
from vramlab.runs.status import Status

_Value = TypeVar("_Value")


class BlockingRuntime:
    """A :class:`~vramlab.live.runtime.LiveRuntime` whose methods block; any number of threads may call them.

    Parameters are those of :class:`~vramlab.live.runtime.LiveRuntime`. Use it as a context manager, or call
    :meth:`open` and :meth:`close`.

    Examples
    --------
    >>> with BlockingRuntime(config, inventory) as runtime:
    ...     outputs = runtime.infer("genderage.onnx", {"input": image})
    """

    def __init__(
        self,
        config: VramConfig,
        inventory: Inventory,
        device: str = "auto",
        journal: Path | str | None = None,
        metrics_port: int | None = None,
        keep_records: bool = True,
    ) -> None:
        self.runtime = LiveRuntime(config, inventory, device, journal, metrics_port, keep_records)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vramlab-loop", daemon=True)
        self._opening: asyncio.Task[Any] | None = None
        self._closing: Future[None] | None = None

    def open(self) -> BlockingRuntime:
        """Load what is always loaded, and be ready; or raise and leave nothing behind."""
        self._thread.start()
        try:
            self._wait_for(self._begin())
        except BaseException:
            self.close()
            raise
        return self

    async def _begin(self) -> None:
        self._opening = asyncio.current_task()
        await self.runtime.__aenter__()

    def close(self) -> None:
        """Take no more requests, finish what is under way, then unload everything.

        Who interrupts this is let go, and the rest is done all the same; closing again waits for it.
        """
        if self._thread.ident is None:  # never opened
            self._loop.close()
            return
        if self._closing is None:
            self._closing = asyncio.run_coroutine_threadsafe(self._end(), self._loop)
        self._closing.result()
        self._thread.join()
        self._loop.close()
        GUARD.tidy()

    async def _end(self) -> None:
        """On the loop: close, then end the loop itself, whoever still waits for that."""
        try:
            if self._opening is not None and not self._opening.done():  # it was interrupted
                self._opening.cancel()
                await asyncio.wait([self._opening])
            if self.runtime.opened:
                await self.runtime.__aexit__(None, None, None)
        finally:
            self._loop.call_soon(self._loop.stop)

    def __enter__(self) -> BlockingRuntime:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def infer(
        self,
        model: str,
        inputs: Inputs,
        *,
        requester: str | None = None,
        priority: Priority | str | None = None,
        input_key: str | None = None,
    ) -> list[npt.NDArray[Any]]:
        """Run a model, wherever it can be run; see :meth:`.LiveRuntime.infer`."""
        return self.runtime.reception.infer(model, inputs, requester, priority, input_key)

    def submit(
        self,
        model: str,
        inputs: Inputs,
        *,
        requester: str | None = None,
        priority: Priority | str | None = None,
        input_key: str | None = None,
    ) -> Answer:
        """As :meth:`infer`, but the answer says how the request ended, and a refusal is an answer too."""
        return self.runtime.reception.serve(model, inputs, requester, priority, input_key)

    def load(self, model: str) -> str:
        """Bring a model onto the device; see :meth:`.LiveRuntime.load`."""
        return self._wait_for(self.runtime.load(model))

    def preload(self, model: str) -> str:
        """Load a model into free room; see :meth:`.LiveRuntime.preload`."""
        return self._wait_for(self.runtime.preload(model))

    def unload(self, model: str) -> str:
        """Take a model off the device; see :meth:`.LiveRuntime.unload`."""
        return self._wait_for(self.runtime.unload(model))

    def status(self) -> Status:
        """Device memory, zones, models and counts at this moment."""
        return self.runtime.status()

    def records(self) -> Records:
        """Outcomes, loads and evictions so far."""
        return self.runtime.records()

    def _wait_for(self, coroutine: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()
