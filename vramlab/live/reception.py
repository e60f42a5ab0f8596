"""Between callers and the driver: what is asked for is checked, and what became of it is handed back.

It is compiled with the driver, as every hit comes through here: after a run the caches hold the model, and
what is asked is fetched anew, line by line. Types of parameters are those of :mod:`vramlab.live.runtime` and
:mod:`vramlab.live.blocking`; here each may be anything, or the compiler would refuse what is wrong in words
of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from vramlab.config.errors import InputError, nearest, shown
from vramlab.config.schema import Inventory, Priority
from vramlab.engine.outcomes import REFUSED
from vramlab.engine.requests import Answer, Request, as_text
from vramlab.live.answers import RequestFailed, RequestRefused, owned
from vramlab.live.backend import OnnxBackend
from vramlab.live.batches import items_of
from vramlab.live.driver import LiveDriver
from vramlab.live.interrupts import GUARD
from vramlab.live.tasks import Closing

_UNKNOWN: Final = object()


class Reception:
    """Where the requests of one runtime come in.

    Parameters
    ----------
    inventory : dict of str to ModelSpec
        What may be asked for.
    backend : OnnxBackend
        Knows what the models take.
    kept_bytes : int
        What answers in the result cache may have together.

    Attributes
    ----------
    driver : LiveDriver or None
        Of the runtime, once that is open.
    """

    def __init__(self, inventory: Inventory, backend: OnnxBackend, kept_bytes: int) -> None:
        self._inventory, self._backend = inventory, backend
        self._axes: dict[str, Any] = backend.axes
        self.kept_bytes = kept_bytes
        self.driver: LiveDriver | None = None

    def opened(self) -> LiveDriver:
        """Return the driver, or raise RuntimeError where there is none yet."""
        driver = self.driver
        if driver is None:
            raise RuntimeError("the runtime is not open: use `async with LiveRuntime(...) as runtime`")
        return driver

    def infer(self, model: Any, inputs: Any, requester: Any, priority: Any, input_key: Any) -> list[Any]:
        """Serve a request in this thread, and return its outputs; see :meth:`.LiveRuntime.infer`."""
        return outputs_of(model, self.serve(model, inputs, requester, priority, input_key))

    def serve(self, model: Any, inputs: Any, requester: Any, priority: Any, input_key: Any) -> Answer:
        """As :meth:`infer`, but a request that was not served has an answer too."""
        driver = self.opened()
        request, feeds = self.request(model, inputs, requester, priority, input_key)
        try:
            answer = driver.serve(request, feeds)
        except Closing as closing:
            GUARD.tidy()  # which has been entered after the end
            raise RequestRefused(f"{model}: {closing}") from closing
        return answer if input_key is None else owned(answer, self.kept_bytes)

    def request(
        self, model: Any, inputs: Any, requester: Any, priority: Any, input_key: Any
    ) -> tuple[Request, Any]:
        """What is asked for, and what the model is to be run with, checked.

        Raises
        ------
        InputError
            For a model that the inventory lacks, a priority that there is none of, inputs that are no
            mapping, and a requester or input key that cannot be written down.
        """
        if not isinstance(model, str) or model not in self._inventory:
            raise unknown(model, self._inventory)
        if not isinstance(inputs, dict) and not isinstance(inputs, Mapping):  # the first is quick
            if not isinstance(inputs, np.ndarray):
                raise InputError("request", "inputs", shown(inputs), "a mapping from names to arrays")
            inputs = self._backend.named(model, inputs)
        if priority is not None:
            priority = _priority(priority)
        if requester is not None:
            requester = as_text("requester", requester)
        if input_key is not None:
            input_key = as_text("input_key", input_key)
        axis = self._axes.get(model, _UNKNOWN)
        if axis is _UNKNOWN:
            axis = self._backend.axis_of(model)
        items = 1 if axis is None else items_of(axis[0], inputs) or 1
        return Request(model, items, priority, requester, input_key), inputs


def outputs_of(model: Any, answer: Answer) -> list[Any]:
    """The outputs of an answer, or the exception that it stands for."""
    outputs = answer[1]
    if outputs is not None:
        return outputs if type(outputs) is list else list(outputs)
    if answer.outcome is REFUSED:
        raise RequestRefused(f"{model}: {answer.why}")
    raise RequestFailed(f"{model}: {answer.why or 'cancelled'}")


def unknown(model: object, inventory: Inventory) -> InputError:
    """What is said of a model that is not in the inventory."""
    if not isinstance(model, str):
        return InputError("request", "model", shown(model), "the name of a model, as text")
    return InputError(
        "request", "model", shown(model), f"a model of the inventory{nearest(model, inventory)}"
    )


def _priority(given: Any) -> Priority:
    if isinstance(given, Priority):
        return given
    known = [priority.value for priority in Priority]
    if given not in known:
        raise InputError("request", "priority", repr(given), f"one of {', '.join(known)}")
    return Priority(given)
