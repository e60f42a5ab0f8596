"""The live runtime: real ONNX Runtime sessions under the allocator, for a program that serves requests."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy.typing as npt

from vramlab.config.loading import check_fit
from vramlab.config.schema import Inventory, Priority, VramConfig
from vramlab.engine.engine import Engine
from vramlab.engine.requests import Answer
from vramlab.live.answers import RequestFailed as RequestFailed
from vramlab.live.answers import RequestRefused as RequestRefused
from vramlab.live.answers import owned_soon
from vramlab.live.backend import OnnxBackend, with_file_sizes
from vramlab.live.driver import LiveDriver
from vramlab.live.interrupts import GUARD
from vramlab.live.loops import one_turn
from vramlab.live.metrics_server import MetricsServer
from vramlab.live.reception import Reception, outputs_of, unknown
from vramlab.live.tasks import Caller, Closing
from vramlab.runs.journal_writing import JournalFile
from vramlab.runs.recorder import Recorder
from vramlab.runs.records import Records
from vramlab.runs.status import Status, status_of
from vramlab.runs.totals import RunningTotals
from vramlab.servers.preset import as_asked

Inputs = Mapping[str, Any] | npt.NDArray[Any]
"""Arrays by name; for a model of one input, that array alone."""

_LOG = logging.getLogger(__name__)


class LiveRuntime:
    """Serves requests with live sessions, deciding which models stay in VRAM.

    Use it as an asynchronous context manager; what is always loaded is loaded when it opens.

    Parameters
    ----------
    config : VramConfig
        Settings.
    inventory : dict of str to ModelSpec
        Models, each with the ``path`` of its ONNX file. One whose size is less than its file's gets that.
    device : str
        ``auto`` (CUDA where it truly works), ``cuda``, ``cpu-emulated`` or ``cpu-arena``.
    journal : Path or str, optional
        File for the journal, written while the run goes on. Without one no journal is kept. Where it exists,
        as after a crash, the run goes to one with a number (``journal.2.jsonl``), and the log says so.
    metrics_port : int, optional
        Serve metrics for Prometheus there, on the loopback interface; 0 takes any port.
    keep_records : bool
        Without, :meth:`records` is not to be had, and memory does not grow however long it runs.

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
        metrics_port: int | None = None,
        keep_records: bool = True,
    ) -> None:
        config, inventory = as_asked(config, with_file_sizes(inventory))
        check_fit(config, inventory, "configuration", "inventory")
        self.config, self.inventory = config, inventory
        self.backend = OnnxBackend(config, inventory, device)
        self.recorder: Recorder | RunningTotals = (
            Recorder(list(config.zones)) if keep_records else RunningTotals()
        )
        self.engine = Engine(config, inventory, self.recorder)
        kept_bytes = 0 if self.engine.cache is None else self.engine.cache.limit_bytes
        self.reception = Reception(inventory, self.backend, kept_bytes)
        self._commands = itertools.count(1)
        self.metrics = None if metrics_port is None else MetricsServer(self, metrics_port)
        # last, so that what is refused leaves no file behind
        self.journal = None if journal is None else JournalFile(journal, numbered=True)
        self.engine.journal = self.journal
        self._closing = AsyncExitStack()
        self._opened = False

    async def __aenter__(self) -> LiveRuntime:
        """Open it, whole or not at all.

        Raises
        ------
        RuntimeError
            If it is or was open: one runtime is one run, with one journal.
        InputError
            If the port for the metrics is taken.
        """
        if self.reception.driver is not None:
            raise RuntimeError("a runtime is opened once, and this one was: make another LiveRuntime")
        driver = self.reception.driver = LiveDriver(self.engine, self.backend, self.journal)
        async with AsyncExitStack() as stack:  # undoes what was done if anything fails from here on
            if self.journal is not None:
                self.journal.start()
                stack.callback(self.journal.close)
            stack.push_async_callback(asyncio.to_thread, driver.close)
            if self.metrics is not None:
                stack.callback(self.metrics.stop)
            stack.push_async_callback(driver.run_story, "stop")
            stack.push_async_callback(driver.come_to_rest, *self.engine.endless_stories())
            label = self.backend.device.label
            _LOG.info("open on %s", label, extra={"device": label})
            if self.backend.stand_ins:
                _LOG.info("served by stand-ins, with random weights: %s", ", ".join(self.backend.stand_ins))
            await driver.run_story("start")
            for name in self.engine.endless_stories():
                driver.run_story(name)
            if self.metrics is not None:
                self.metrics.start()
            self._closing = stack.pop_all()
        self._opened = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Take no more requests, finish what is under way, then unload everything.

        Who is cancelled meanwhile waits for the end all the same, but requests under way are cancelled then.
        """
        closing = asyncio.ensure_future(self._closing.aclose())
        cancelled = None
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError as error:
                if closing.done():
                    break
                cancelled = error
                self.driver.give_up_all()
            except Exception:
                break
        _LOG.info("closed")
        GUARD.tidy()
        if cancelled is not None:
            raise cancelled
        if kind is None:
            closing.result()
        elif not closing.cancelled() and closing.exception() is not None:
            _LOG.error("closing: %s", closing.exception())

    @property
    def driver(self) -> LiveDriver:
        """The driver; there is one only inside ``async with``."""
        return self.reception.opened()

    @property
    def opened(self) -> bool:
        """Whether it was opened, whether or not it is closed by now."""
        return self._opened

    @property
    def closed(self) -> bool:
        """Whether it was open and takes no more requests."""
        driver = self.reception.driver
        return driver is not None and driver.closing

    async def infer(
        self,
        model: str,
        inputs: Inputs,
        *,
        requester: str | None = None,
        priority: Priority | str | None = None,
        input_key: str | None = None,
    ) -> list[Any]:
        """Run a model, wherever it can be run.

        A worker thread does so, and the event loop goes on meanwhile; but a lone run that is known to be
        very short (``serving.inline_run_ms``) is done on the loop itself, which is faster.

        Parameters
        ----------
        model : str
            Name in the inventory.
        inputs : mapping of str to array, list or None; or ndarray
            By name, as ``InferenceSession.run`` takes them; for a model of one input, that array alone.
        requester : str, optional
            Who asks, for the journal. A whole number, a UUID or bytes become text.
        priority : Priority or str, optional
            Where it differs from the model's.
        input_key : str, optional
            Likewise. Requests of one model with equal keys have equal answers, which may come from the result
            cache.

        Returns
        -------
        list
            What ``InferenceSession.run`` returns: an array per tensor, a list per sequence, a dict per map.

        Raises
        ------
        RequestRefused, RequestFailed
            If it was not served, with the reason. A policy of one's own that raises, or whose score is no
            number, while a request is decided has failed that request alone; the log has the traceback.
        """
        answer = await self.submit(model, inputs, requester=requester, priority=priority, input_key=input_key)
        return outputs_of(model, answer)

    async def submit(
        self,
        model: str,
        inputs: Inputs,
        *,
        requester: str | None = None,
        priority: Priority | str | None = None,
        input_key: str | None = None,
    ) -> Answer:
        """As :meth:`infer`, but the answer says how the request ended, and a refusal is an answer too.

        A caller that is cancelled meanwhile gives its place up.
        """
        reception = self.reception
        request, feeds = reception.request(model, inputs, requester, priority, input_key)
        driver = reception.opened()
        caller = Caller(False)
        try:
            task = driver.submit(request, feeds, caller)
        except Closing as closing:
            GUARD.tidy()  # which has been entered after the end
            raise RequestRefused(f"{model}: {closing}") from closing
        except BaseException:  # a signal's: nobody else would go on with what has begun
            for begun in [one for one in list(driver.tasks.values()) if one.caller is caller]:
                driver.give_up(begun)
            raise
        try:
            if task.here is not None:  # a callback of the loop would do it, and take two turns for it
                await one_turn()
                driver.run_here(task)
            future = driver.ending(task, caller)
            answer = caller.answer() if future is None else await future
        except BaseException:  # cancelled, or thrown away
            driver.give_up(task)
            raise
        return answer if input_key is None else await owned_soon(answer, reception.kept_bytes)

    # -- by hand -----------------------------------------------------------------------------------------

    async def load(self, model: str) -> str:
        """Bring a model onto the device as a request for it would, evicting if it must.

        Returns
        -------
        str
            Why it could not be done; empty if it was.
        """
        return await self._command("load", model)

    async def preload(self, model: str) -> str:
        """Load a model if its zone has free room, evicting nobody. Returns why not, as :meth:`load`."""
        return await self._command("preload", model)

    async def unload(self, model: str) -> str:
        """Take a model off the device if nobody uses it. Returns why not, as :meth:`load`."""
        return await self._command("unload", model)

    async def _command(self, what: str, model: str) -> str:
        if model not in self.inventory:
            raise unknown(model, self.inventory)
        _, why_not = await self.driver.run_story(f"{what} {next(self._commands)}", model)
        return str(why_not)

    def status(self) -> Status:
        """Device memory, zones, models and counts at this moment; may be called from any thread."""
        driver = self.driver
        driver.lock.refuse_reentry()
        memory, others_bytes = self.backend.memory(), self.backend.others_bytes()
        with driver.lock:
            status = status_of(
                self.engine, driver.clock(), self.backend.device.label, memory, list(driver.tasks)
            )
        status = replace(status, memory_others_bytes=others_bytes)
        if self.journal is None:
            return status
        return replace(
            status, journal_trouble=self.journal.trouble, journal_waiting_bytes=self.journal.waiting_bytes
        )

    def records(self) -> Records:
        """Outcomes, loads and evictions so far; may be called from any thread."""
        self.driver.lock.refuse_reentry()
        with self.driver.lock:
            return self.recorder.records()
