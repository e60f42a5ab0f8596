"""The ``serving`` section: the engine's queues."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from vramlab.config.fields import Count, NonNegative, Positive, Section, Threads


class ServingConfig(Section):
    """The engine's queues: how much runs at once, and who goes next.

    ``queue`` is the old name of ``order``: ``fifo`` there is ``arrival``.
    """

    gpu_streams: Threads = 1
    """So many runs on the GPU at once."""
    load_channels: Threads = 1
    """So many loads at once."""
    cpu_workers: Threads = 1
    """So many runs on the CPU at once."""
    on_miss: Literal["wait", "cpu_while_loading"] = "wait"
    """`wait`: load, then run. `cpu_while_loading`: the CPU answers while the load runs."""
    unload_time_ms: NonNegative = 1
    """How long an unload takes."""
    release_timeout_ms: Positive = 30_000
    """How long, under `arrival` and for loads by command, to wait while models in use stand in the way."""
    load_timeout_ms: Positive = 120_000
    """A load that takes longer has failed."""
    order: str = "backlog"
    """Who goes next (:mod:`vramlab.engine.orders`): `backlog`, `affinity`, `fifo`, `arrival` (the
    specification's flow, :mod:`vramlab.engine.arrival`), or `package.module:name` for one's own (`vramlab
    policies`).
    """
    max_wait_s: Positive = 300
    """Nobody is passed over for longer than this while it could be served."""
    max_skips: Count = 3
    """Under `affinity`, requests for models that are there pass the same one at most so many times."""
    batching: bool = False
    """Requests that wait for one model run as one, up to its `batch_size`, where its inventory says `splits:
    true` (:mod:`vramlab.engine.batching`).
    """
    warm_up: bool = True
    """A load ends with a first run, which is slower than the later ones."""
    inline_run_ms: NonNegative = 1
    """Live, asynchronous: the run of a lone request known to take no longer is done on the event loop's
    thread, as a worker would cost it more; 0: never.
    """
    heap: Literal["returned", "kept", "default"] = "returned"
    """Live: memory of the host that models free is `returned` to the system, `kept`, or left to the C library
    (`default`).
    """
    tf32: bool = False
    """Products of single precision may have fewer digits on CUDA; answers are about 1e-3 off the CPU's then,
    and those of the CPU are not kept in the result cache.
    """

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
