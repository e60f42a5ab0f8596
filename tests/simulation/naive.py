"""A second simulator, written the usual way: one SimPy process per request, SimPy's own resources.

It knows one zone, LRU, no retention, no CPU: what the real one must agree with, and be faster than.
"""

from collections import OrderedDict, deque

import numpy as np
import simpy


class NaiveSimulator:
    def __init__(self, trace, inventory, capacity_bytes, streams, channels, unload_s):
        self.env = simpy.Environment()
        self.trace = trace
        self.size = {name: spec.footprint_bytes for name, spec in inventory.items()}
        self.load_s = {name: spec.load_s for name, spec in inventory.items()}
        self.infer_s = {name: spec.inference_s for name, spec in inventory.items()}
        self.unload_s = unload_s
        self.room = simpy.Container(self.env, capacity_bytes, init=capacity_bytes)
        self.uncommitted = capacity_bytes
        self.gpu = simpy.Resource(self.env, streams)
        self.channel = simpy.Resource(self.env, channels)
        self.tracked = OrderedDict()  # loading or resident, least recently used first
        self.leaving = set()
        self.line = deque()  # (number, model, event) of requests that wait for models in use
        self.finish_s = np.zeros(len(trace))
        self.kind = np.zeros(len(trace), dtype=np.uint8)  # 0 hit, 1 cold start, 2 joined a load

    def run(self):
        self.env.process(self.arrivals())
        self.env.run()
        return self

    def arrivals(self):
        names = self.trace.model_names
        rows = zip(self.trace.times_s.tolist(), self.trace.model_codes.tolist(), strict=True)
        for number, (time_s, code) in enumerate(rows):
            yield self.env.timeout(time_s - self.env.now)
            self.env.process(self.request(number, names[code]))

    def changed(self):
        """Somebody was released or has left: serve the line, first come, first served."""
        while self.line:
            number, name, event = self.line[0]
            plan = self.decide(number, name)
            if plan is None:
                return
            self.line.popleft()
            event.succeed(plan)

    def request(self, number, name):
        plan = None if self.line else self.decide(number, name)
        if plan is None:
            event = self.env.event()
            self.line.append((number, name, event))
            plan = yield event
        entry, victims = plan
        if victims is not None:
            yield from self.load(name, entry, victims)
        elif not entry.loaded.triggered:
            yield entry.loaded
        with self.gpu.request() as stream:
            yield stream
            yield self.env.timeout(self.infer_s[name])
        entry.pins -= 1
        if not entry.pins:
            self.changed()
        self.finish_s[number] = self.env.now

    def decide(self, number, name):
        """(entry, None) to use or join, (entry, victims) to load, None to wait."""
        entry = self.tracked.get(name)
        if entry is not None:
            self.kind[number] = 0 if entry.loaded.triggered else 2
            entry.pins += 1
            self.tracked.move_to_end(name)
            return entry, None
        victims = self.victims(name)
        if name in self.leaving or victims is None:
            return None
        self.kind[number] = 1
        entry = self.tracked[name] = Entry(self.env.event())
        self.uncommitted -= self.size[name]
        for victim in victims:
            self.uncommitted += self.size[victim]
            del self.tracked[victim]
            self.leaving.add(victim)
        return entry, victims

    def victims(self, name):
        short = self.size[name] - self.uncommitted
        chosen = []
        for model, entry in self.tracked.items():
            if short <= 0:
                break
            if not entry.pins and entry.loaded.triggered:
                chosen.append(model)
                short -= self.size[model]
        return chosen if short <= 0 else None

    def load(self, name, entry, victims):
        for victim in victims:
            yield self.env.timeout(self.unload_s)
            self.leaving.remove(victim)
            yield self.room.put(self.size[victim])
            self.changed()
        yield self.room.get(self.size[name])
        with self.channel.request() as turn:
            yield turn
            yield self.env.timeout(self.load_s[name])
        entry.loaded.succeed()


class Entry:
    def __init__(self, loaded):
        self.loaded = loaded
        self.pins = 1
