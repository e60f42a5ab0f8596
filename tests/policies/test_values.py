"""What policies say a model is worth, tracked or not, and what LHD learns, step by step."""

from itertools import islice

import numpy as np
import pytest

from tests.policies.cache import Cache
from vramlab.allocator.policies import aged
from vramlab.allocator.policies.aged import Table
from vramlab.allocator.policies.ages import BINS, EDGES, bin_of, hit_density
from vramlab.allocator.policies.heap import ValueHeap
from vramlab.allocator.policies.lhd import LHD

MB = 2**20


def models_of(cache):
    return cache.allocator.models


def test_fifo_and_lru_are_worth_their_time():
    cache = Cache("fifo", 3)
    cache.ask("ABA")  # at 0, 1 and 2 s
    assert cache.policy.score(models_of(cache)["A"], 9.0) == 0.0
    assert cache.policy.score(models_of(cache)["B"], 9.0) == 1.0
    assert cache.policy.score(models_of(cache)["C"], 9.0) == 9.0
    cache = Cache("lru", 3)
    cache.ask("ABA")
    assert cache.policy.score(models_of(cache)["A"], 9.0) == 2.0


def test_lfu_is_worth_its_uses():
    cache = Cache("lfu", 3)
    cache.ask("AAB")
    assert [cache.policy.score(models_of(cache)[name], 9.0) for name in "ABC"] == [2.0, 1.0, 1.0]


def test_sieve_and_s3_fifo_are_worth_their_marks():
    cache = Cache("sieve", 3)
    cache.ask("AAB")
    assert [cache.policy.score(models_of(cache)[name], 9.0) for name in "ABC"] == [1.0, 0.0, 0.0]
    cache = Cache("s3_fifo", 3)
    cache.ask("AAAAAABB")
    assert [cache.policy.score(models_of(cache)[name], 9.0) for name in "ABC"] == [3.0, 1.0, 0.0]


def test_lru_k_is_worth_its_kth_last_use():
    cache = Cache("lru_k", 3)
    cache.ask("ABAA")
    scores = [cache.policy.score(models_of(cache)[name], 9.0) for name in "ABC"]
    assert scores == [3.0, -np.inf, -np.inf]


def test_greedy_dual_tracked_or_not():
    cache = Cache("lfu_da", 2)
    cache.ask("AAB")
    a, b, c = (models_of(cache)[name] for name in "ABC")
    assert (cache.policy.score(a, 0.0), cache.policy.score(b, 0.0)) == (2.0, 1.0)
    assert cache.policy.score(c, 0.0) == 0.0  # never used
    assert cache.ask("C") == "B"  # L is 1
    assert cache.policy.score(a, 0.0) == 2.0  # that of its last use, not of now
    assert cache.policy.score(c, 0.0) == 2.0
    b.uses = 3
    assert cache.policy.score(b, 0.0) == 4.0


def test_greedy_dual_newcomers_who_compete():
    cache = Cache("lfu_da", 2)
    cache.ask("AAAB")
    c = models_of(cache)["C"]
    c.uses = 1
    assert cache.policy.bid(c, 0.0) == 1.0
    cache.policy.rejected(c, 0.0)  # L is 1
    assert cache.policy.bid(c, 0.0) == 2.0
    cache.policy.removed(models_of(cache)["B"], True)  # B had 1: L stays
    cache.policy.admitted(c, 0.0)
    assert cache.policy.score(c, 0.0) == 2.0
    d = models_of(cache)["D"]
    d.uses = 1
    assert cache.policy.bid(d, 0.0) == 2.0
    cache.policy.removed(models_of(cache)["A"], True)  # L is 3
    cache.policy.admitted(d, 0.0)
    assert cache.policy.score(d, 0.0) == 2.0  # what it bid
    e = models_of(cache)["E"]
    e.uses = 1
    cache.policy.admitted(e, 0.0)
    assert cache.policy.score(e, 0.0) == 4.0  # no bid: by now
    cache.policy.rejected(d, 0.0)
    assert cache.policy._inflation == 4.0


def test_a_model_that_is_unloaded_leaves_no_fame_behind():
    cache = Cache("lfu_da", 2)
    cache.ask("AAA")
    cache.policy.removed(models_of(cache)["A"], False)
    cache.policy.admitted(models_of(cache)["B"], 0.0)
    assert cache.policy.score(models_of(cache)["B"], 0.0) == 0.0


# -- the heap --------------------------------------------------------------------------------------------


def some_models(count):
    """Models, which cannot be compared."""
    return list(Cache("lru", 1).allocator.models.values())[:count]


def test_the_heap_by_hand():
    heap, (a, b, c) = ValueHeap(), some_models(3)
    assert list(heap.ascending()) == []
    assert heap.value(a) is None
    for thing, value in ((a, 2.0), (b, 1.0), (c, 1.0)):
        heap.put(thing, value)
    assert list(heap.ascending()) == [b, c, a]
    assert [heap.value(thing) for thing in (a, b, c)] == [2.0, 1.0, 1.0]
    heap.put(b, 1.0)
    assert list(heap.ascending()) == [c, b, a]  # set later
    assert heap.remove(c) == 1.0
    assert heap.value(c) is None
    assert list(heap.ascending()) == [b, a]
    heap.put(c, 0.5)
    assert heap.entries[c] == (0.5, 5, c, 5)


def test_raised_values_show_as_the_old_ones_come_up():
    heap, (a, b, c) = ValueHeap(), some_models(3)
    for thing, value in ((a, 1.0), (b, 2.0), (c, 3.0)):
        heap.put(thing, value)
    heap.put(a, 2.5)
    assert list(heap.ascending()) == [b, a, c]
    heap.put(c, 4.0)
    heap.put(b, 5.0)
    assert list(heap.ascending()) == [a, c, b]
    heap.remove(a)
    heap.put(a, 0.0)  # it has come back, and what it was worth before counts no more
    assert list(heap.ascending()) == [a, c, b]
    heap.put(b, 1.0)  # as after a bid that was too high: it falls
    assert list(heap.ascending()) == [a, b, c]
    heap.put(c, 6.0)
    assert heap.remove(c) == 6.0  # also where it has not come up


@pytest.mark.parametrize("seed", range(3))
def test_the_heap_is_a_sorted_list(seed):
    rng = np.random.default_rng(seed)
    heap, things, expected, clock = ValueHeap(), some_models(20), {}, 0
    for _ in range(600):
        thing = things[int(rng.integers(20))]
        if thing in expected and rng.random() < 0.2:
            assert heap.remove(thing) == expected.pop(thing)[0]
        else:
            clock += 1
            before = expected[thing][0] if thing in expected else 0.0
            expected[thing] = (before + float(rng.integers(-3, 10)), clock)
            heap.put(thing, expected[thing][0])
            assert len(heap._heap) <= 64 + 4 * len(things)  # outdated entries do not pile up
        if rng.random() < 0.3:
            assert list(heap.ascending()) == sorted(expected, key=expected.__getitem__)


# -- columns ---------------------------------------------------------------------------------------------


def a_table(count):
    models = list(Cache("lru", 1).allocator.models.values())[:count]
    table = Table()
    for model in models:
        table.add(model)
    return table, models


def ascending(table, scores):
    """Names by `scores`, one per row; no more than there are models, should it not end."""
    column = np.zeros(len(table.value))
    column[: len(scores)] = scores
    found = islice(table.ascending(column), len(scores) + 1)
    return "".join(model.name for model in found)


@pytest.mark.parametrize("one_by_one", [0, 1, 2, 8])
def test_columns_in_the_order_of_their_scores(one_by_one, monkeypatch):
    monkeypatch.setattr(aged, "_ONE_BY_ONE", one_by_one)
    table, models = a_table(5)
    assert ascending(table, [3.0, 1.0, 2.0, 1.0, 0.0]) == "EBDCA"
    assert ascending(table, [np.inf, 1.0, np.inf, 0.0, 2.0]) == "DBEAC"  # infinite ones are the last
    assert ascending(table, [np.inf] * 5) == "ABCDE"
    table.remove(models[1])
    assert ascending(table, [3.0, 1.0, 2.0, 1.0, 0.0]) == "EDCA"


def test_many_equal_columns_stay_in_the_order_of_admission():
    table, _ = a_table(26)
    assert ascending(table, [1.0, 0.0] * 13) == "BDFHJLNPRTVXZACEGIKMOQSUWY"


# -- LHD -------------------------------------------------------------------------------------------------


def test_bins_of_ages():
    assert [int(bin_of(age)) for age in (0.0, 1.0, 3.0, 7.0)] == [0, 4, 8, 12]
    assert bin_of(np.array([0.0, 0.2, 1.0])).tolist() == [0, 1, 4]
    assert int(bin_of(1e300)) == BINS - 1
    assert len(EDGES) == BINS == 160
    assert EDGES[[0, 4, 8]].tolist() == [0.0, 1.0, 3.0]


def test_hit_density_where_nothing_happens_is_zero():
    assert hit_density(np.zeros(BINS), np.zeros(BINS)).tolist() == [0.0] * BINS
    hits = np.zeros(BINS)
    hits[0] = 0.5  # half an event at age 0: a lifetime of less than one
    assert hit_density(hits, np.zeros(BINS))[0] == 1.0


def test_lhd_begins_as_lru_per_byte():
    cache = Cache("lhd", 6, {"A": {"vram_size_mb": 2}})
    a, b, c = (models_of(cache)[name] for name in "ABC")
    cache.ask("AB")
    assert cache.policy._clock == 2.0
    assert cache.policy.score(b, 99.0) == 1.0 / MB  # age 0, and seconds do not count
    assert cache.policy.score(a, 99.0) == 0.5 / (2 * MB)  # age 1
    assert cache.policy.score(c, 99.0) == 1.0 / MB  # a newcomer


def test_lhd_counts_ages_of_hits_and_victims_but_not_of_the_unloaded():
    cache = Cache("lhd", 2)
    policy = cache.policy
    assert isinstance(policy, LHD)
    cache.ask("ABA")  # a hit of age 2
    assert policy._hits[bin_of(2.0)] == 1.0
    cache.ask("BA")  # ages 2 and 2
    assert policy._hits[bin_of(2.0)] == policy._hits.sum() == 3.0
    assert policy._events == 3
    assert cache.ask("C") == "B"  # its last use was at 4, the clock is at 5 when it leaves
    assert policy._evictions[bin_of(1.0)] == policy._evictions.sum() == 1.0
    assert policy._events == 4
    policy.removed(models_of(cache)["A"], False)
    assert policy._evictions.sum() == 1.0
    assert policy._events == 4


def test_lhd_learns_every_256_events_and_forgets_a_tenth():
    cache = Cache("lhd", 2)
    policy = cache.policy
    first = policy._density.copy()
    cache.ask("AB" + "AB" * 127 + "A")  # 255 hits of age 2
    assert policy._hits.sum() == 255
    assert np.array_equal(policy._density, first)
    cache.ask("B")
    hits = np.zeros(BINS)
    hits[bin_of(2.0)] = 256
    assert policy._events == 0
    assert np.array_equal(policy._density, hit_density(hits, np.zeros(BINS)))
    assert policy._hits.sum() == pytest.approx(0.9 * 256)
    policy._evictions[3] = 10.0
    policy._events = 255
    cache.ask("A")
    assert policy._events == 0
    assert policy._evictions[3] == 9.0
    assert policy._hits.sum() == pytest.approx(0.9 * (0.9 * 256 + 1))


def test_random_is_a_shuffle_seeded_by_each_draw():
    cache = Cache("random", 8, seed=5)
    cache.ask("ABCDEFGH")
    draws = np.random.default_rng(5).integers(2**63, size=256).tolist()
    state, order = draws.pop(), list("ABCDEFGH")
    for step in range(8):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        other = step + (state >> 32) % (8 - step)
        order[step], order[other] = order[other], order[step]
    assert cache.order() == "".join(order)
    cache.policy.removed(models_of(cache)["H"], False)
    assert cache.policy._seed == draws.pop()
