"""Each policy against a plain one that keeps a log and looks everything up in it, over some hundred requests.

Models have different sizes and load times; some are preloaded, and some unloaded, between the requests.
"""

import math

import numpy as np
import pytest

from tests.policies.cache import Cache
from vramlab.allocator.invariants import check
from vramlab.config.units import MIB

LETTERS = "ABCDEFGHIJKLMNOP"
PRIORITIES = ["low", "medium", "high"]
WEIGHTS = {"low": 10.0, "medium": 100.0, "high": 1000.0}


def inventory(rng):
    return {
        name: {
            "vram_size_mb": int(rng.integers(1, 6)),
            "load_time_ms": int(rng.integers(1, 50)),
            "priority": PRIORITIES[int(rng.integers(3))],
        }
        for name in LETTERS
    }


class Plain:
    """Who leaves is found by sorting everybody by `key`."""

    def __init__(self, size_mb, models):
        self.size_mb, self.models = size_mb, models
        self.clock = 0
        self.used_s = {name: [] for name in models}  # when each was used, ever
        self.turn = {name: [] for name in models}  # and at which turn of the clock
        self.there = {}  # of each resident, the uses that it had when it was admitted
        self.placed = {}  # when it was, by the clock and in seconds
        self.last_s = {}  # last use, or preloading

    def key(self, name, now_s):
        raise NotImplementedError

    def admitted(self, name, now_s):
        pass

    def hit(self, name):
        pass

    def evicted(self, name, now_s):
        pass

    def unloaded(self, name):
        pass

    def uses(self, name):
        return len(self.used_s[name]) - self.there[name]

    def size(self, name):
        return self.models[name]["vram_size_mb"]

    def load_ms(self, name):
        return self.models[name]["load_time_ms"]

    def room(self):
        return self.size_mb - sum(self.size(name) for name in self.there)

    def first_to_leave(self, now_s):
        return min(self.there, key=lambda name: self.key(name, now_s))

    def ask(self, name, now_s):
        self.clock += 1
        self.used_s[name].append(now_s)
        self.turn[name].append(self.clock)
        self.last_s[name] = now_s
        left = ""
        if name in self.there:
            self.hit(name)
            return left
        while self.room() < self.size(name):
            victim = self.first_to_leave(now_s)
            self.evicted(victim, now_s)
            del self.there[victim]
            left += victim
        self.enter(name, now_s, 1)
        return left

    def enter(self, name, now_s, uses):
        self.there[name] = len(self.used_s[name]) - uses
        self.placed[name] = (self.clock, now_s)
        self.admitted(name, now_s)

    def preload(self, name, now_s):
        self.clock += 1
        self.last_s[name] = now_s
        self.enter(name, now_s, 0)

    def unload(self, name):
        del self.there[name]
        self.unloaded(name)

    def last(self, name):
        """When it was used last or admitted, by the clock."""
        return max([self.placed[name][0], *self.turn[name][-1:]])


class LRU(Plain):
    def key(self, name, now_s):
        return self.last(name)


class FIFO(Plain):
    def key(self, name, now_s):
        return self.placed[name][0]


class LFU(Plain):
    def key(self, name, now_s):
        return self.uses(name), self.last(name)


class LRUK(Plain):
    k = 2

    def key(self, name, now_s):
        turns = self.turn[name]
        return (turns[-self.k] if len(turns) >= self.k else 0), self.last(name)


class LRU3(LRUK):
    k = 3


class GDSF(Plain):
    def __init__(self, *args):
        super().__init__(*args)
        self.level = 0.0
        self.worth = {}

    def value(self, name):
        return self.load_ms(name) / 1000.0 / (self.size(name) * MIB)

    def admitted(self, name, now_s):
        self.worth[name] = self.level + self.uses(name) * self.value(name)

    def hit(self, name):
        self.admitted(name, 0.0)

    def key(self, name, now_s):
        return self.worth[name], self.last(name)

    def evicted(self, name, now_s):
        self.level = max(self.level, self.worth[name])


class GDSFHits(GDSF):
    def value(self, name):
        return 1.0 / (self.size(name) * MIB)


class LFUDA(GDSF):
    def value(self, name):
        return 1.0


class Score(Plain):
    """Of equals, the one that was admitted first."""

    def key(self, name, now_s):
        return self.score(name, now_s), self.placed[name][0]

    def constant(self, name, cost):
        weight = WEIGHTS[self.models[name]["priority"]]
        return weight * (1000.0 / self.size(name)) * (100.0 / self.load_ms(name)) ** cost


class Seed(Score):
    cost = 1.0

    def score(self, name, now_s):
        uses = len(self.used_s[name])
        return self.constant(name, self.cost) * (uses + 1) / (now_s - self.last_s[name] + 1)


class SeedFixed(Seed):
    cost = -1.0


class Decayed(Score):
    def score(self, name, now_s):
        count = sum(2.0 ** ((used_s - now_s) / 20.0) for used_s in self.used_s[name])
        age_s = now_s - self.last_s[name]
        return self.constant(name, -1.0) * max(count, 1e-6 * 2.0 ** (-age_s / 20.0)) / math.sqrt(age_s + 1)


class Hyperbolic(Score):
    def score(self, name, now_s):
        worth = self.load_ms(name) / self.size(name)
        return max(self.uses(name), 1) * worth / (now_s - self.placed[name][1] + 1)


class Sieve(Plain):
    """A list from old to new, and a hand that is a place in it."""

    def __init__(self, *args):
        super().__init__(*args)
        self.queue, self.marked, self.hand = [], set(), 0

    def admitted(self, name, now_s):
        self.queue.append(name)

    def hit(self, name):
        self.marked.add(name)

    def first_to_leave(self, now_s):
        while True:
            self.hand %= len(self.queue)
            name = self.queue[self.hand]
            if name not in self.marked:
                return name
            self.marked.remove(name)
            self.hand += 1

    def evicted(self, name, now_s):
        self.unloaded(name)

    def unloaded(self, name):
        place = self.queue.index(name)
        self.queue.remove(name)
        self.marked.discard(name)
        if place < self.hand:
            self.hand -= 1
        if self.hand == len(self.queue):
            self.hand = 0


class S3FIFO(Plain):
    """As in the paper: one eviction after the other."""

    def __init__(self, *args):
        super().__init__(*args)
        self.small, self.main, self.ghosts, self.marks = [], [], [], {}

    def admitted(self, name, now_s):
        self.marks[name] = 0
        if name in self.ghosts:
            self.ghosts.remove(name)
            self.main.append(name)
        else:
            self.small.append(name)

    def hit(self, name):
        self.marks[name] = min(self.marks[name] + 1, 3)

    def total(self, names):
        return sum(self.size(name) for name in names)

    def first_to_leave(self, now_s):
        while True:
            if self.main and 10 * self.total(self.small) < self.total(self.small + self.main):
                name = self.main[0]
                if not self.marks[name]:
                    return name
                self.marks[name] -= 1
                self.main.append(self.main.pop(0))
            else:
                name = self.small[0]
                if self.marks[name] < 2:
                    return name
                self.main.append(self.small.pop(0))

    def evicted(self, name, now_s):
        if name in self.small:
            self.ghosts.append(name)
            while 10 * self.total(self.ghosts) > 9 * self.total(self.small + self.main):
                self.ghosts.pop(0)
        self.unloaded(name)

    def unloaded(self, name):
        (self.small if name in self.small else self.main).remove(name)


REFERENCES = {
    "lru": (LRU, {}),
    "fifo": (FIFO, {}),
    "lfu": (LFU, {}),
    "lru_k": (LRUK, {}),
    "lru_k of 3": (LRU3, {"k": 3}),
    "gdsf": (GDSF, {}),
    "gdsf_hits": (GDSFHits, {}),
    "lfu_da": (LFUDA, {}),
    "seed": (Seed, {}),
    "seed_fixed": (SeedFixed, {}),
    "decayed": (Decayed, {"half_life_s": 20.0}),
    "hyperbolic": (Hyperbolic, {}),
    "sieve": (Sieve, {}),
    "s3_fifo": (S3FIFO, {}),
}


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", REFERENCES)
def test_against_a_plain_one(name, seed):
    rng = np.random.default_rng(seed)
    models = inventory(rng)
    plain, scoring = REFERENCES[name]
    size_mb = 12 + 12 * seed
    cache = Cache(name.split()[0], size_mb, models, victims="in_order", **scoring)
    reference = plain(size_mb, models)
    weights = 1.0 / np.arange(1, len(LETTERS) + 1) ** 0.8
    evictions = 0
    for _ in range(400):
        cache.now_s += float(rng.exponential(2.0))
        now_s = cache.now_s
        asked = LETTERS[int(rng.choice(len(LETTERS), p=weights / weights.sum()))]
        what = rng.random()
        if what < 0.05 and asked in reference.there:
            cache.allocator.unload(asked, now_s)
            cache.allocator.unloaded(asked)
            reference.unload(asked)
        elif what < 0.15 and asked not in reference.there and reference.room() >= reference.size(asked):
            cache.allocator.reserve(asked, now_s)
            cache.allocator.loaded(asked, now_s)
            reference.preload(asked, now_s)
        else:
            left = cache.ask(asked, 0.0)
            assert left == reference.ask(asked, now_s)
            evictions += len(left)
        check(cache.allocator)
        assert sorted(cache.order()) == sorted(reference.there)
    assert evictions > 50


def test_the_plain_ones_differ_from_each_other():
    """Else they would show little."""
    lefts = {}
    for name, (plain, _) in REFERENCES.items():
        rng = np.random.default_rng(0)
        reference = plain(12, inventory(rng))
        asked = [LETTERS[int(i)] for i in rng.integers(len(LETTERS), size=200)]
        lefts[name] = "".join(reference.ask(letter, float(i)) for i, letter in enumerate(asked))
    assert len(set(lefts.values())) == len(REFERENCES)
