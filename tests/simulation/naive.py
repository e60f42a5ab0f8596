"""A second simulator, written the usual way: one SimPy process per request, SimPy's own resources.

It knows one zone, LRU, no retention, no CPU: what the real one must agree with, and be faster than.
"""

from collections import OrderedDict

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
        self.changed = self.env.event()
        self.finish_s = np.zeros(len(trace))
        self.kind = np.zeros(len(trace), dtype=np.uint8)  # 0 hit, 1 cold start, 2 joined or waited

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

    def change(self):
        self.changed.succeed()
        self.changed = self.env.event()

    def request(self, number, name):
        first = True
        while True:
            entry = self.tracked.get(name)
            if entry is not None:
                self.kind[number] = 0 if first and entry.loaded.triggered else 2
                entry.pins += 1
                self.tracked.move_to_end(name)
                if not entry.loaded.triggered:
                    yield entry.loaded
                break
            victims = self.victims(name)
            if name not in self.leaving and victims is not None:
                self.kind[number] = 1
                entry = self.tracked[name] = Entry(self.env.event())
                yield from self.load(name, entry, victims)
                break
            first = False
            yield self.changed
        with self.gpu.request() as stream:
            yield stream
            yield self.env.timeout(self.infer_s[name])
        entry.pins -= 1
        if not entry.pins:
            self.change()
        self.finish_s[number] = self.env.now

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
        self.uncommitted -= self.size[name]
        for victim in victims:
            self.uncommitted += self.size[victim]
            del self.tracked[victim]
            self.leaving.add(victim)
        for victim in victims:
            yield self.env.timeout(self.unload_s)
            self.leaving.remove(victim)
            yield self.room.put(self.size[victim])
            self.change()
        yield self.room.get(self.size[name])
        with self.channel.request() as turn:
            yield turn
            yield self.env.timeout(self.load_s[name])
        entry.loaded.succeed()


class Entry:
    def __init__(self, loaded):
        self.loaded = loaded
        self.pins = 1
