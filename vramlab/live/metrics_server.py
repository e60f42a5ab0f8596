"""Metrics for Prometheus, on the loopback interface, off unless asked for.

Nothing is counted while requests are served: each scrape looks at the runtime's status and at the records
that are new since the last one.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any, Protocol
from wsgiref.simple_server import WSGIRequestHandler, make_server

import numpy as np

from vramlab.config.errors import InputError
from vramlab.engine.outcomes import Outcome
from vramlab.runs.status import Status
from vramlab.runs.totals import RunningTotals

_LAST_PORT = 65_535
LOOPBACK = "127.0.0.1"
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_STATES = ("absent", "loading", "resident", "in use", "evicting")
_UNANSWERED = (Outcome.REFUSED, Outcome.FAILED, Outcome.CANCELLED)


class Watched(Protocol):
    """A runtime, as far as metrics look at it."""

    recorder: Any

    @property
    def driver(self) -> Any:
        """Whose lock is taken to copy records."""

    def status(self) -> Status:
        """What is so at this moment."""


class MetricsServer:
    """An HTTP server of its own thread, which answers every path with the metrics.

    Parameters
    ----------
    runtime : Watched
        Which is watched.
    port : int
        On the loopback interface; 0 takes any that is free.

    Raises
    ------
    InputError
        If ``prometheus_client`` is not installed, or there is no such port.
    """

    def __init__(self, runtime: Watched, port: int) -> None:
        if not isinstance(port, int) or not 0 <= port <= _LAST_PORT:
            raise InputError("metrics", "port", repr(port), f"a port from 0 to {_LAST_PORT}")
        try:
            import prometheus_client  # an extra: most people never scrape
        except ImportError as error:
            raise InputError(
                "metrics", "", error, "prometheus_client: pip install 'vramlab[metrics]'"
            ) from None
        self._registry = prometheus_client.CollectorRegistry()
        self._registry.register(_Collector(runtime))
        self._wanted = port
        self._server: Any = None

    @property
    def port(self) -> int:
        """Where it listens; 0 while it does not."""
        return 0 if self._server is None else int(self._server.server_port)

    def start(self) -> None:
        """Begin to listen.

        Raises
        ------
        InputError
            If the port is taken.
        """
        from prometheus_client import make_wsgi_app
        from prometheus_client.exposition import ThreadingWSGIServer

        application = _for_this_host(make_wsgi_app(self._registry))
        try:
            self._server = make_server(LOOPBACK, self._wanted, application, ThreadingWSGIServer, _Quiet)
        except OSError as error:
            found = (error.strerror or str(error)).lower()
            raise InputError("metrics", "port", f"{self._wanted}: {found}", "a free port") from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="vramlab-metrics", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None


class _Quiet(WSGIRequestHandler):
    """Says nothing of its requests, and waits for none that does not come."""

    timeout = 10.0

    def log_message(self, format: str, *arguments: Any) -> None:
        """Drop it."""


def _for_this_host(application: Any) -> Any:
    """Refuse what was asked of another host: a page of anybody's whose name leads here must not read it."""

    def checked(environ: dict[str, Any], start_response: Any) -> Any:
        host = environ.get("HTTP_HOST", "")
        if host.rpartition(":")[0] in _HOSTS or host in _HOSTS:
            return application(environ, start_response)
        start_response("421 Misdirected Request", [("Content-Type", "text/plain")])
        return [b"metrics are served on the loopback interface, under its own names\n"]

    return checked


_HOSTS = ("127.0.0.1", "localhost", "[::1]")


class _Latencies:
    """Histogram of the answered requests' latencies, brought up to date at each look."""

    def __init__(self) -> None:
        self._looked_at = 0
        self._open: list[int] = []  # requests that had not ended at the last look
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def observe(self, outcome: Outcome, latency_s: float) -> None:
        if outcome not in _UNANSWERED:
            self.counts[bisect_left(BUCKETS_S, latency_s)] += 1
            self.sum_s += latency_s

    def update(self, recorder: Any, lock: Any) -> None:
        """Look at the requests that are new, and at those that had not ended; copied under the lock."""
        start, still = self._looked_at, np.array(self._open, dtype=np.int64)
        with lock:
            outcomes = np.frombuffer(bytes(recorder.outcomes[start:]), dtype=np.uint8)
            finish_s, arrival_s = (
                np.array(times[start:], dtype=np.float64) for times in (recorder.finish_s, recorder.arrival_s)
            )
            open_outcomes = [recorder.outcomes[number] for number in self._open]
            open_finish_s = [recorder.finish_s[number] for number in self._open]
            open_arrival_s = [recorder.arrival_s[number] for number in self._open]
        numbers = np.concatenate([still, np.arange(start, start + len(outcomes))])
        outcomes = np.concatenate([np.array(open_outcomes, dtype=np.uint8), outcomes])
        latency_s = np.concatenate([np.array(open_finish_s) - np.array(open_arrival_s), finish_s - arrival_s])
        ended = ~np.isnan(latency_s)
        answered_s = latency_s[ended & ~np.isin(outcomes, _UNANSWERED)]
        places = np.searchsorted(BUCKETS_S, answered_s)
        for place, count in enumerate(np.bincount(places, minlength=len(self.counts))):
            self.counts[place] += int(count)
        self.sum_s += float(answered_s.sum())
        self._open, self._looked_at = numbers[~ended].tolist(), start + len(finish_s)

    def cumulated(self) -> list[tuple[str, float]]:
        total, rows = 0, []
        for bound, count in zip((*map(str, BUCKETS_S), "+Inf"), self.counts, strict=True):
            total += count
            rows.append((bound, float(total)))
        return rows


class _Collector:
    """What ``prometheus_client`` calls at each scrape."""

    def __init__(self, runtime: Watched) -> None:
        self._runtime = runtime
        self._latencies = _Latencies()
        if isinstance(runtime.recorder, RunningTotals):
            runtime.recorder.observe = self._latencies.observe

    def describe(self) -> list[Any]:
        return []  # or the registry would collect at once, before the runtime is open

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        runtime = self._runtime
        status = runtime.status()
        if not isinstance(runtime.recorder, RunningTotals):
            self._latencies.update(runtime.recorder, runtime.driver.lock)

        def gauge(name: str, text: str, value: float) -> Any:
            return GaugeMetricFamily(f"vramlab_{name}", text, value=value)

        requests = CounterMetricFamily("vramlab_requests", "Requests that have ended.", labels=["outcome"])
        for outcome, count in status.outcomes.items():
            requests.add_metric([outcome], count)
        yield requests
        yield HistogramMetricFamily(
            "vramlab_latency_seconds",
            "From arrival to answer, of answered requests.",
            buckets=self._latencies.cumulated(),
            sum_value=self._latencies.sum_s,
        )
        yield CounterMetricFamily("vramlab_loads", "Loads onto the device.", value=status.loads)
        yield CounterMetricFamily("vramlab_failed_loads", "Loads that failed.", value=status.failed_loads)
        yield CounterMetricFamily("vramlab_evictions", "Models that were evicted.", value=status.evictions)
        yield gauge("device_memory_bytes", "Memory of the device.", status.memory_total_bytes)
        yield gauge("device_memory_used_bytes", "Taken there by all processes.", status.memory_used_bytes)
        if status.memory_others_bytes is not None:
            others = status.memory_others_bytes
            yield gauge("device_memory_others_bytes", "Taken there by other processes.", others)
        yield gauge("budget_bytes", "What models may hold.", status.budget_bytes)
        yield gauge("held_bytes", "What models hold.", status.held_bytes)
        yield gauge("journal_trouble", "1 while the journal cannot be written.", bool(status.journal_trouble))
        yield gauge(
            "journal_waiting_bytes", "Of the journal, not on the disk yet.", status.journal_waiting_bytes
        )
        yield gauge("under_way", "Requests and own stories under way.", status.under_way)
        waiting = GaugeMetricFamily("vramlab_waiting", "Requests that wait.", labels=["for"])
        waiting.add_metric(["gpu"], status.waiting_for_gpu)
        waiting.add_metric(["cpu"], status.waiting_for_cpu)
        waiting.add_metric(["models in use"], status.waiting_in_line)
        yield waiting
        zones = {
            "size": GaugeMetricFamily("vramlab_zone_size_bytes", "Cap of the zone.", labels=["zone"]),
            "held": GaugeMetricFamily("vramlab_zone_held_bytes", "Held in the zone.", labels=["zone"]),
        }
        for zone in status.zones:
            zones["size"].add_metric([zone.name], zone.size_bytes)
            zones["held"].add_metric([zone.name], zone.held_bytes)
        yield from zones.values()
        states = GaugeMetricFamily("vramlab_model_state", "1 for its state.", labels=["model", "state"])
        uses = CounterMetricFamily("vramlab_model_uses", "Requests for the model.", labels=["model"])
        for model in status.models:
            for state in _STATES:
                states.add_metric([model.name, state], float(model.state == state))
            uses.add_metric([model.name], model.uses)
        yield states
        yield uses
