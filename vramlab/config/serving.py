"""The ``serving`` section: the engine's queues."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from vramlab.config.fields import Count, NonNegative, Positive, Section, Threads


class ServingConfig(Section):
    """The engine's queues: how much runs at once, and who goes next.

    ``order`` picks the next run and the next load from all requests that wait (:mod:`vramlab.engine.orders`):
    ``backlog``, ``affinity`` (requests for models that are there pass the same one at most ``max_skips``
    times), ``fifo`` (strictly in the order of coming), or ``package.module:name`` for one's own; ``arrival``
    is the specification's flow, which decides when a request comes (:mod:`vramlab.engine.arrival`). Nobody is
    passed over for longer than ``max_wait_s`` while it could be served. ``queue`` is the old name: ``fifo``
    there is ``arrival``. ``batching``: requests that wait for one model run as one, up to its ``batch_size``,
    where its inventory says ``splits: true`` (:mod:`vramlab.engine.batching`).

    ``on_miss`` is ``wait`` (load, then run) or ``cpu_while_loading`` (answer from the CPU while the load
    runs). ``release_timeout_ms`` bounds, under ``arrival`` and for loads by command, the waiting while models
    in use stand in the way. ``warm_up``: a load ends with a first run, which is slower than the later ones. A
    load that takes longer than ``load_timeout_ms`` has failed. ``inline_run_ms`` is for the live asynchronous
    runtime: a lone run that is known to take no longer is done on the event loop's own thread. A worker
    thread would cost it more than that; 0 leaves every run to the workers. ``tf32``: products
    of single precision may be made with fewer digits on CUDA; answers are about 1e-3 off the CPU's then, and
    those of the CPU are not kept in the result cache.
    """

    gpu_streams: Threads = 1
    load_channels: Threads = 1
    cpu_workers: Threads = 1
    on_miss: Literal["wait", "cpu_while_loading"] = "wait"
    unload_time_ms: NonNegative = 1
    release_timeout_ms: Positive = 30_000
    load_timeout_ms: Positive = 120_000
    order: str = "backlog"
    max_wait_s: Positive = 300
    max_skips: Count = 3
    batching: bool = False
    warm_up: bool = True
    inline_run_ms: NonNegative = 1
    heap: Literal["returned", "kept", "default"] = "returned"
    tf32: bool = False

    @model_validator(mode="before")
    @classmethod
    def _rename_queue(cls, data: object) -> object:
        return with_order(data) if isinstance(data, dict) else data


def with_order(serving: dict[str, Any]) -> dict[str, Any]:
    """Rename ``queue``, as ``order`` was called; its ``fifo`` decided on arrival.

    Raises
    ------
    ValueError
        If both are given.
    """
    if "queue" not in serving:
        return serving
    if "order" in serving:
        raise ValueError("one of order and queue, which is its old name")
    old = serving["queue"]
    renamed = {key: value for key, value in serving.items() if key != "queue"}
    return renamed | {"order": "arrival" if old == "fifo" else old}
