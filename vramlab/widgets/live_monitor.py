"""``LiveMonitor``: watch a running runtime, once a second, without standing in anybody's way."""

from __future__ import annotations

import threading
from html import escape

import ipywidgets as widgets

from vramlab.analysis.figures import by_outcome
from vramlab.config.html import Cell, html_table
from vramlab.config.units import bytes_to_mib
from vramlab.experiments.following import Following
from vramlab.live.blocking import BlockingRuntime
from vramlab.live.runtime import LiveRuntime
from vramlab.runs.status import ModelStatus, Status
from vramlab.widgets.notice import Notice

_JOIN_S = 5.0
_BAR = "#56B4E9"
_FULL = "#D55E00"
_TONES = {"absent": "quiet", "in use": "strong", "resident": "", "loading": "good", "evicting": "bad"}
_ORDER = ("in use", "resident", "loading", "evicting", "absent")


class LiveMonitor(widgets.VBox):
    """Device memory, zones, models and rates of a live runtime.

    A thread of its own looks at the runtime, so neither the kernel nor the runtime waits for it. It ends when
    the runtime closes, when its stop button is pressed, and with :meth:`close`.

    Parameters
    ----------
    runtime : LiveRuntime, BlockingRuntime or Following
        Need not be open yet; the last is a run in another process, by its journal (:func:`.follow_run`).
    every_s : float
        Seconds between two looks.
    most : int
        So many models are listed: those on the device first, then the most used.

    Attributes
    ----------
    status : Status or None
        What was seen last.

    Examples
    --------
    >>> runtime = BlockingRuntime(config, inventory).open()
    >>> LiveMonitor(runtime)
    """

    def __init__(
        self, runtime: LiveRuntime | BlockingRuntime | Following, every_s: float = 1.0, most: int = 16
    ) -> None:
        self.runtime = runtime.runtime if isinstance(runtime, BlockingRuntime) else runtime
        self.every_s, self.most = every_s, most
        self.status: Status | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.heading = widgets.HTML(layout=widgets.Layout(flex="1 1 auto", min_height="28px"))
        self.button = widgets.Button(icon="stop", layout=widgets.Layout(width="90px"))
        self.button.on_click(lambda _: self.stop() if self.watching else self.start())
        self.notice = Notice()
        self.memory = widgets.HTML(layout=widgets.Layout(flex="1 1 320px", margin="0 24px 0 0"))
        self.rates = widgets.HTML(layout=widgets.Layout(flex="1 1 320px"))
        self.models = widgets.HTML()
        super().__init__(
            [
                widgets.HBox([self.heading, self.button], layout={"width": "100%"}),
                self.notice,
                widgets.HBox([self.memory, self.rates], layout={"width": "100%", "flex_flow": "row wrap"}),
                self.models,
            ],
            layout=widgets.Layout(width="100%", max_width="1100px"),
        )
        self.start()

    def __repr__(self) -> str:
        return f"LiveMonitor({'watching' if self.watching else 'stopped'})"

    @property
    def watching(self) -> bool:
        """Whether it still looks."""
        return self._thread is not None and self._thread.is_alive() and not self._stop.is_set()

    def start(self) -> None:
        """Begin to look, if it does not already."""
        if self.watching:
            return
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._watch, args=(self._stop,), name="vramlab-monitor", daemon=True
        )
        self.button.description, self.button.icon = "Stop", "stop"
        self._thread.start()

    def stop(self) -> None:
        """Look no more; what was seen last stays."""
        self._stop.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_JOIN_S)
        self._ended("stopped")

    def close(self) -> None:
        """Look no more, and take the widget away."""
        self.stop()
        super().close()

    def _watch(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                if self.runtime.closed:
                    self._ended("the runtime has closed")
                    return
                self._show(self.runtime.status())
                self.notice.clear()
            except Exception as error:  # for the one who looks at the widget; the next look may go well
                if self.runtime.closed:
                    continue  # it closed under us
                self.notice.error(error)
            stop.wait(self.every_s)

    def _ended(self, why: str) -> None:
        self.button.description, self.button.icon = "Start", "play"
        self._head(self.status, why)

    # -- what is shown -----------------------------------------------------------------------------------

    def _show(self, status: Status) -> None:
        before, self.status = self.status, status
        self._head(status, "live")
        self.memory.value = _memory_html(status)
        self.rates.value = _rates_html(status, before)
        self.models.value = _models_html(status, self.most)

    def _head(self, status: Status | None, state: str) -> None:
        seen = "" if status is None else f"{escape(status.device)} · {status.time_s:,.0f} s · "
        dot = "#009E73" if state == "live" else "#8A8A8A"
        self.heading.value = (
            f"<span style='color:{dot}'>●</span> <b>Live runtime</b> "
            f"<span style='color:#757575'>{seen}{escape(state)}</span>"
        )


def _memory_html(status: Status) -> str:
    """Return bars: the device, all models, and each zone."""
    bars = [
        ("device", status.memory_used_bytes, status.memory_total_bytes),
        ("models", status.held_bytes, status.budget_bytes),
        *((zone.name, zone.held_bytes, zone.size_bytes) for zone in status.zones),
    ]
    return "".join(_bar(*bar) for bar in bars)


def _bar(name: str, used_bytes: int, total_bytes: int) -> str:
    share = 100 * min(used_bytes / total_bytes, 1.0) if total_bytes else 0.0
    colour = _FULL if share > 97 and name == "device" else _BAR
    text = f"{bytes_to_mib(used_bytes):,.0f} / {bytes_to_mib(total_bytes):,.0f} MB"
    return (
        "<div style='display:flex;align-items:center;line-height:1.6;font-size:13px'>"
        f"<span style='width:100px;overflow:hidden;text-overflow:ellipsis'>{escape(name)}</span>"
        "<span style='flex:1;min-width:80px;height:12px;background:#8884;margin-right:10px'>"
        f"<span style='display:block;height:12px;width:{share:.1f}%;background:{colour}'></span></span>"
        f"<span style='width:120px;text-align:right;font-variant-numeric:tabular-nums'>{text}</span></div>"
    )


def _rates_html(status: Status, before: Status | None) -> str:
    """Return rates since the look before, and totals: requests by outcome, loads and evictions."""
    seconds = status.time_s - before.time_s if before is not None else 0.0
    rows: list[tuple[str, str, str]] = []

    def row(name: str, now: int, then: int | None) -> None:
        rate = "–" if then is None or seconds <= 0 else f"{(now - then) / seconds:,.1f} /s"
        rows.append((name, rate, f"{now:,}"))

    ended = sum(status.outcomes.values())
    row("requests", ended, None if before is None else sum(before.outcomes.values()))
    for name, figure in by_outcome().items():
        then = None if before is None else before.outcomes[name]
        row(f"· {figure.label}", status.outcomes[name], then)
    row("loads", status.loads, None if before is None else before.loads)
    row("evictions", status.evictions, None if before is None else before.evictions)
    reached = ended - status.outcomes["cache_hit"]
    hits = f"hit rate {100 * status.outcomes['hit'] / reached:.1f} %" if reached else "no request yet"
    waiting = (
        f"{hits}; under way {status.under_way}, waiting for GPU {status.waiting_for_gpu}, "
        f"CPU {status.waiting_for_cpu}, in line {status.waiting_in_line}"
    )
    return html_table(["", "now", "in all"], rows, note=waiting, widths=(150, 80, 80))


def _models_html(status: Status, most: int) -> str:
    """Return models on the device first, then the most used."""
    order = sorted(status.models, key=lambda model: (_ORDER.index(model.state), -model.uses, model.name))
    rows = [_model_row(model) for model in order[:most]]
    more = len(order) - len(rows)
    header = ["model", "state", "zone", "footprint", "uses", "last used", "score"]
    if status.models and status.models[0].predicted_use is not None:
        header.append("predicted")
    note = f"and {more} more" if more > 0 else ""
    return html_table(header, rows, note=note, left=3, widths=(220, 70, 100, 80, 60, 80, 80, 80))


def _model_row(model: ModelStatus) -> tuple[str | Cell, ...]:
    ago = "–" if model.last_used_s_ago is None else f"{model.last_used_s_ago:,.0f} s ago"
    return (
        model.name,
        Cell(model.state, _TONES[model.state]),
        model.zone or "–",
        f"{bytes_to_mib(model.footprint_bytes):,.1f} MB",
        f"{model.uses:,}",
        ago,
        "–" if model.score is None else f"{model.score:.3g}",
        *([] if model.predicted_use is None else [f"{model.predicted_use:.2f}"]),
    )
