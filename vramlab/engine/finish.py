"""Where a request would be done sooner, on the GPU or on the CPU (``fallback.when: earliest_finish``).

Predicted from the inventory's times, when the request comes:

- GPU: all runs that wait or are under way, over the streams; for a model that is not there at least the loads
  that wait or are under way, over the channels, and its own; then its run.
- CPU: all runs that wait or are under way there, over the workers; its session's load if there is none yet;
  then its run.

The GPU wins a tie. What the order of serving will do, and who else will come, is not predicted.
"""

from __future__ import annotations

from itertools import islice

from vramlab.allocator.facts import Model
from vramlab.allocator.states import ABSENT, EVICTING, LOADING
from vramlab.config.schema import Inventory
from vramlab.engine.desk import Desk
from vramlab.engine.fallback import Fallback

_WINDOW = 64  # absent models that are looked at, so that a step costs the same however many wait


class Finish:
    """Predictions for one engine.

    Parameters
    ----------
    desk : Desk
        Where requests wait for the GPU.
    fallback : Fallback
        What the CPU has to do.
    inventory : dict of str to ModelSpec
        How long loads and runs take.
    """

    def __init__(self, desk: Desk, fallback: Fallback, inventory: Inventory) -> None:
        serving = desk.config.serving
        self._streams, self._channels = serving.gpu_streams, serving.load_channels
        self._workers = serving.cpu_workers
        self._waiting, self._fallback, self._inventory = desk.waiting, fallback, inventory
        self._ratio = desk.config.fallback.cpu_performance_ratio
        self._run_ends_s: list[float] = []  # of the last runs that began, one per stream
        self._load_ends_s: dict[Model, float] = {}

    def run_began(self, run_s: float, now_s: float) -> None:
        """A run begins on the GPU."""
        self._run_ends_s = [*self._run_ends_s, now_s + run_s][-self._streams :]

    def load_began(self, model: Model, now_s: float) -> None:
        """A load begins."""
        self._load_ends_s[model] = now_s + model.load_s

    def sooner_on_cpu(self, model: Model, items: int, now_s: float) -> str:
        """Why the CPU should answer a request that comes now; empty if the GPU should."""
        on_gpu_s, on_cpu_s = self.on_gpu_s(model, items, now_s), self.on_cpu_s(model, items)
        if on_cpu_s >= on_gpu_s:
            return ""
        return f"the CPU is sooner: {on_cpu_s:.4g} s, the GPU {on_gpu_s:.4g} s"

    def on_gpu_s(self, model: Model, items: int, now_s: float) -> float:
        """How long it would take on the GPU, seconds."""
        # sums of lists: those of generators are compiled to plain additions, which round otherwise
        under_way_s = sum([max(0.0, end_s - now_s) for end_s in self._run_ends_s], 0.0)
        busy = len([end_s for end_s in self._run_ends_s if end_s > now_s])
        waiting_s = self._waiting.work_s
        wait_s = (under_way_s + waiting_s) / self._streams if busy >= self._streams or waiting_s else 0.0
        if model.state in (ABSENT, EVICTING):
            loads_s = sum([max(0.0, end_s - now_s) for end_s in self._load_ends_s.values()], 0.0)
            absent = islice(self._waiting.absent, _WINDOW)
            loads_s += sum([group.model.load_s for _, _, group in absent if group.model is not model], 0.0)
            wait_s = max(wait_s, loads_s / self._channels + model.load_s)
        elif model.state is LOADING:
            wait_s = max(wait_s, self._load_ends_s.get(model, now_s) - now_s)
        return wait_s + self._inventory[model.name].inference_s * items

    def on_cpu_s(self, model: Model, items: int) -> float:
        """How long it would take on the CPU, seconds."""
        spec = self._inventory[model.name]
        load_s = 0.0 if self._fallback.made(model.name) else spec.cpu_load_s
        return self._fallback.work_s / self._workers + load_s + spec.cpu_inference_s(self._ratio) * items
