"""A second simulator of late deciding, written the usual way: one SimPy process per request, plain scans.

It knows one zone, LRU, no retention, no CPU, instant unloads. Whoever waits stands in one list, and each
decision goes through all of it: what the real scheduler's sorted lists must agree with.
"""

from collections import OrderedDict

import numpy as np
import simpy

STRETCH = 5.0


class NaiveLate:
    def __init__(
        self, trace, inventory, capacity_bytes, streams, channels, order, max_wait_s, max_skips=3, times=None
    ):
        self.times, self.most = times, {}  # with times of whole runs, requests are joined
        if times is not None:
            self.most = {name: spec.batch_size for name, spec in inventory.items() if spec.splits}
        self.env = simpy.Environment()
        self.trace, self.order, self.max_skips = trace, order, max_skips
        self.size = {name: spec.footprint_bytes for name, spec in inventory.items()}
        self.load_s = {name: spec.load_s for name, spec in inventory.items()}
        self.infer_s = {name: spec.inference_s for name, spec in inventory.items()}
        self.free = capacity_bytes
        self.streams, self.channels = streams, channels
        self.all_streams, self.all_channels = streams, channels
        self.max_wait_s = max_wait_s
        self.waiting = []
        self.loaded = OrderedDict()  # model -> runs, least recently used first
        self.loading, self.leaving = set(), set()
        self.lru = OrderedDict()
        self.finish_s = np.zeros(len(trace))
        self.kind = np.zeros(len(trace), dtype=np.uint8)  # 0 hit, 1 cold start, 2 joined a load
        self.loads = 0

    def run(self):
        self.env.process(self.arrivals())
        self.env.run()
        return self

    def arrivals(self):
        names = self.trace.model_names
        rows = zip(
            self.trace.times_s.tolist(),
            self.trace.model_codes.tolist(),
            self.trace.items.tolist(),
            strict=True,
        )
        for number, (time_s, code, items) in enumerate(rows):
            yield self.env.timeout(time_s - self.env.now)
            self.env.process(self.request(number, names[code], items))

    def request(self, number, name, items):
        run_s = self.infer_s[name] * items
        entry = Entry(number, name, self.env.now, self.max_wait_s, run_s, self.env.event())
        entry.items = items
        self.kind[number] = 2 if name in self.loading else 0
        self.waiting.append(entry)
        self.decide()
        batch = yield entry.event
        if batch[0] is not entry:
            return  # the first runs for all
        if self.times is not None:
            run_s = self.times(name, sum(other.items for other in batch))
        yield self.env.timeout(run_s)
        self.streams += 1
        self.loaded[name] -= len(batch)
        for other in batch:
            self.finish_s[other.number] = self.env.now
        self.decide()

    def load(self, name, victims):
        for victim in victims:
            yield self.env.timeout(0)
            self.leaving.remove(victim)
            self.decide()
        yield self.env.timeout(self.load_s[name])
        self.channels += 1
        self.loading.remove(name)
        self.loaded[name] = 0
        self.decide()

    # -- who is next

    def decide(self):
        self.blocked, self.held = None, set()
        while self.waiting and (self.step() or self.anything()):
            pass

    def anything(self):
        if self.streams < self.all_streams or self.channels < self.all_channels:
            return False
        for entry in sorted(self.waiting, key=lambda e: e.place):
            if entry.model in self.loaded:
                return self.begin_run(entry)
        for entry in sorted(self.waiting, key=lambda e: e.place):
            if self.is_absent(entry):
                return self.begin_load(entry, entry.place)
        return False

    def step(self):
        now = self.env.now
        pick = self.pick()
        if self.channels and self.blocked is None:
            absent = [e for e in self.waiting if self.is_absent(e)]
            due = min(absent, key=lambda e: e.place, default=None)
            first = due is not None and due.due_s <= now and (not pick or due.place < pick.place)
            if first and due is not pick:
                return self.begin_load(due, due.place) or self.block(due)
        if self.streams:
            there = [e for e in self.waiting if e.model in self.loaded and not self.is_held(e)]
            due = min(there, key=lambda e: e.place, default=None)
            if due and due.due_s <= now and (pick is None or due.place < pick.place):
                pick = due
        if pick is None or not self.is_next(pick):
            return False
        if pick.model in self.loaded:
            return self.begin_run(pick)
        if self.order == "fifo":
            return self.begin_load(pick, pick.place) or self.block(pick)
        return self.begin_load(pick, None) or self.begin_load(pick, pick.place) or self.block(pick)

    def pick(self):
        if self.order == "fifo":
            return self.waiting[0]
        if self.order == "affinity":
            first = min(self.waiting, key=lambda e: e.place)
            if first.skips >= self.max_skips and self.is_next(first):
                return first
        if self.streams:
            there = [e for e in self.waiting if e.model in self.loaded and not self.is_held(e)]
            if there:
                return min(there, key=lambda e: e.turn)
        if self.channels and self.blocked is None:
            absent = [e for e in self.waiting if self.is_absent(e)]
            for entry in sorted(absent, key=lambda e: e.place):
                if self.victims(entry.model, None) is not None:
                    return entry
        return None

    def is_absent(self, entry):
        return not any(entry.model in models for models in (self.loaded, self.loading, self.leaving))

    def is_held(self, entry):
        return self.blocked is not None and entry.model in self.held and entry.place > self.blocked

    def is_next(self, entry):
        if entry.model in self.loaded:
            return self.streams and not self.is_held(entry)
        return self.is_absent(entry) and self.channels and self.blocked is None

    def wanted(self, model):
        return min((e.place for e in self.waiting if e.model == model), default=None)

    def victims(self, name, place, over_busy=False):
        """Idle models that nobody waits for, then (with a place) those wanted later, the latest first."""
        short = self.size[name] - self.free
        if short <= 0:
            return []
        plain, later = [], []
        for model in self.lru:
            if not over_busy and (model in self.loading or self.loaded[model]):
                continue
            wanted = self.wanted(model)
            if wanted is None or (self.order == "fifo" and (over_busy or wanted > place)):
                plain.append(model)
            elif over_busy or (place is not None and wanted > place):
                later.append((wanted, model))
        chosen = []
        for model in plain + [model for _, model in sorted(later, reverse=True)]:
            chosen.append(model)
            short -= self.size[model]
            if short <= 0:
                return chosen
        return None

    # -- what it does

    def begin_run(self, entry):
        self.streams -= 1
        batch = [entry]
        self.start(entry)
        while (other := self.joins(batch)) is not None:
            batch.append(other)
            self.start(other)
        for other in batch:
            other.event.succeed(batch)
        return True

    def joins(self, batch):
        now, model = self.env.now, batch[0].model
        alike = [e for e in self.waiting if e.model == model]
        if not alike:
            return None
        next_ = min(alike, key=lambda e: e.place)
        if next_.due_s > now:
            next_ = alike[0] if self.order == "fifo" else min(alike, key=lambda e: e.turn)
        if sum(e.items for e in [*batch, next_]) > self.most.get(model, 0) or self.is_held(next_):
            return None
        due = [e for e in self.waiting if e.model != model and e.model in self.loaded and e.due_s <= now]
        return None if any(e.place < next_.place for e in due) else next_

    def start(self, entry):
        self.loaded[entry.model] += 1
        if self.kind[entry.number] != 1:
            self.lru.move_to_end(entry.model)
        if entry is not min(self.waiting, key=lambda e: e.place):
            for other in self.waiting:
                other.skips += 1
        self.waiting.remove(entry)

    def begin_load(self, entry, place):
        victims = self.victims(entry.model, place)
        if victims is None:
            return False
        for victim in victims:
            self.free += self.size[victim]
            self.leaving.add(victim)
            del self.loaded[victim], self.lru[victim]
        self.free -= self.size[entry.model]
        self.channels -= 1
        self.loading.add(entry.model)
        self.lru[entry.model] = None
        for other in self.waiting:
            if other.model == entry.model and self.kind[other.number] == 0:
                self.kind[other.number] = 2
        self.kind[entry.number] = 1
        self.loads += 1
        self.env.process(self.load(entry.model, victims))
        return True

    def block(self, entry):
        self.blocked = entry.place
        self.held = set(self.victims(entry.model, entry.place, over_busy=True) or ())
        return True


class Entry:
    def __init__(self, number, model, now_s, max_wait_s, run_s, event):
        self.number, self.model, self.event = number, model, event
        self.due_s = now_s + max_wait_s
        self.place = self.due_s, number
        self.turn = self.due_s + STRETCH * run_s, number
        self.skips = 0
