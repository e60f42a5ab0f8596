"""Each policy on a sequence that was worked by hand, chosen so that its neighbours would do otherwise."""

import numpy as np
import pytest

from tests.policies.cache import Cache
from vramlab.allocator.policies.ages import BINS, bin_of, hit_density
from vramlab.allocator.policies.lhd import LHD
from vramlab.allocator.policies.lru_k import LRUK


def test_lru():
    cache = Cache("lru", 3)
    assert cache.ask("ABCAD") == "B"
    assert cache.order() == "CAD"


def test_fifo():
    cache = Cache("fifo", 3)
    assert cache.ask("ABCAD") == "A"
    assert cache.order() == "BCD"


def test_lfu_counts_since_loading_and_ties_go_to_the_first_to_reach_the_count():
    cache = Cache("lfu", 2)
    assert cache.ask("ABABC") == "A"  # 2 uses each: A had its second first
    assert cache.order() == "CB"
    assert cache.ask("A") == "C"
    assert cache.order() == "AB"  # A starts at 1 again


def test_lfu_da_lets_old_fame_age():
    cache = Cache("lfu_da", 2)
    assert cache.ask("AABC") == "B"  # A 2, B 1: L becomes 1, C gets 2
    assert cache.ask("D") == "A"  # C as much as A, which had it first: LFU would have taken C
    assert cache.policy.score(cache.allocator.models["D"], 0.0) == 3.0


def test_gdsf_takes_the_cheapest_per_byte():
    models = {
        "A": {"vram_size_mb": 40, "load_time_ms": 40},
        "B": {"vram_size_mb": 20, "load_time_ms": 60},
        "C": {"vram_size_mb": 40, "load_time_ms": 40},
    }
    cache = Cache("gdsf", 60, models, victims="pruned")
    assert cache.ask("ABC") == "A"  # worth per MB: A 1, B 3; L = 1, so C starts at 2
    assert cache.ask("A") == "C"  # C 2, B 3; L = 2: A starts at 3
    # now B and A have 3, B the older: A alone frees 40, so that B, which comes first, may stay
    assert cache.order() == "BA"
    assert cache.ask("C") == "A"


def test_gdsf_hits_has_no_cost():
    models = {"A": {"vram_size_mb": 2, "load_time_ms": 900}, "B": {"load_time_ms": 1}}
    assert Cache("gdsf_hits", 3, models).ask("ABC") == "A"
    assert Cache("gdsf", 3, models).ask("ABC") == "B"


def test_lru_k_prefers_whom_it_knows():
    cache = Cache("lru_k", 2)
    assert cache.ask("AABC") == "B"  # B was used once; LRU would take A
    assert cache.ask("CD") == "A"  # second last uses: A 1, C 4


def test_lru_k_remembers_through_evictions():
    cache = Cache("lru_k", 2)
    assert cache.ask("ABCA") == "AB"  # all used once: in the order of their use
    assert cache.ask("X") == "C"  # A has been used twice, C once
    assert cache.ask("F") == "X"
    forgetful = Cache("lru_k", 2)
    forgetful.allocator.zones["flexible"].policy = LRUK(2, keeps_history=False)
    assert forgetful.ask("ABCAXF") == "ABCA"  # A and X used once since loading: A first


def test_lru_k_that_forgets_has_nothing_to_forget_of_a_model_that_was_never_used():
    cache = Cache("lru_k", 2)
    policy = cache.allocator.zones["flexible"].policy = LRUK(2, keeps_history=False)
    cache.allocator.reserve("A", 0.0)
    cache.allocator.loaded("A", 0.0)
    assert cache.ask("BC") == "A"
    assert [model.name for model in policy.ranked(9.0)] == ["B", "C"]


def test_lru_k_of_one_is_lru():
    cache = Cache("lru_k", 3, k=1)
    assert cache.ask("ABCAD") == "B"
    cache = Cache("lru_k", 3, k=3)
    assert cache.ask("AAABBCCD") == "B"  # fewer than 3 uses: B's last is the oldest


def test_hyperbolic_measures_the_rate_since_loading():
    cache = Cache("hyperbolic", 2)
    cache.ask("AA", every_s=0.0)
    cache.now_s = 9.0
    cache.ask("B", every_s=1.0)
    # at 10 s: A 2 / 11, B 1 / 2 (LFU would take B)
    worth = 0.001 / 2**20
    assert cache.policy.score(cache.allocator.models["A"], 10.0) == pytest.approx(worth * 2 / 11)
    assert cache.policy.score(cache.allocator.models["B"], 10.0) == pytest.approx(worth / 2)
    assert cache.ask("C") == "A"


def test_sieve_spares_the_used_once_and_keeps_its_hand():
    cache = Cache("sieve", 3)
    assert cache.ask("ABCAD") == "B"  # A is spared; the hand stands before C
    assert cache.order() == "CDA"
    assert cache.ask("E") == "C"
    assert cache.ask("F") == "D"  # not A, the oldest: the hand is past it
    assert cache.order() == "EFA"
    assert cache.ask("EFG") == "A"  # E and F are spared, and the hand is back at the oldest


def test_sieve_starts_again_at_the_oldest_even_if_newcomers_came_since():
    cache = Cache("sieve", 2)
    assert cache.ask("ABAC") == "B"  # B was the newest: the hand has passed the end
    assert cache.ask("D") == "A"


def test_s3_fifo_promotes_the_used_and_remembers_the_evicted():
    cache = Cache("s3_fifo", 10)
    assert cache.ask("ABCDEFGHIJAAK") == "B"  # A, used twice, goes to the main queue
    assert cache.ask("L") == "C"
    assert cache.ask("B") == "D"  # B comes back into the main queue
    assert cache.ask("MNOPQRSTUV") == "EFGHIJKLMN"  # the newcomers pass by A and B
    assert {"A", "B"} <= set(cache.order())


def test_s3_fifo_sends_the_used_round_again():
    cache = Cache("s3_fifo", 3)
    assert cache.ask("AAABBBCCC") == ""  # 2 uses each after loading
    # all three are promoted, and small is empty: each has two more rounds, then the oldest leaves
    assert cache.order() == "ABC"
    assert cache.ask("D") == "A"
    assert cache.policy.score(cache.allocator.models["C"], 0.0) == 0.0  # its rounds are spent
    assert cache.ask("E") == "D"  # the small queue holds more than its tenth
    assert [model.name for model in cache.policy._ghosts] == ["D"]  # A left the main queue


def test_s3_fifo_who_comes_up_and_may_not_leave_has_spent_its_rounds():
    cache = Cache("s3_fifo", 3)
    cache.ask("AABBBCCC")
    cache.allocator.request("A", cache.now_s)  # in use from now on
    assert cache.ask("D") == "B"  # all have 2 uses, and A would be the first
    assert cache.policy.score(cache.allocator.models["A"], 0.0) == 0.0
    cache.allocator.released("A")
    assert cache.ask("E") == "A"


def test_s3_fifo_remembers_as_many_bytes_as_nine_tenths():
    cache = Cache("s3_fifo", 10)
    assert cache.ask("ABCDEFGHIJKLMNOPQRS") == "ABCDEFGHI"
    assert [model.name for model in cache.policy._ghosts] == list("ABCDEFGHI")  # 9 of 10 MB, to the byte
    assert cache.ask("T") == "J"
    assert [model.name for model in cache.policy._ghosts] == list("BCDEFGHIJ")


def test_decayed_forgets():
    weights = {"frequency": 1.0, "recency": 0.0, "size": 0.0, "cost": 0.0, "priority": 0.0}
    cache = Cache("decayed", 2, half_life_s=10.0, weights=weights)
    cache.ask("AA")
    cache.now_s = 20.0
    cache.ask("B")
    models = cache.allocator.models
    # at 21 s: A (2^-2.1 + 2^-2), B 2^-0.1
    assert cache.policy.score(models["A"], 21.0) == pytest.approx(2**-2.1 + 2**-2.0)
    assert cache.policy.score(models["B"], 21.0) == pytest.approx(2**-0.1)
    assert cache.ask("C") == "A"
    steady = Cache("decayed", 2, half_life_s=1000.0, weights=weights)
    steady.ask("AA")
    steady.now_s = 20.0
    assert steady.ask("BC") == "B"


def test_decayed_counts_uses_that_were_not_admitted():
    weights = {"frequency": 1.0, "recency": 0.0, "size": 0.0, "cost": 0.0, "priority": 0.0}
    cache = Cache("decayed", 2, half_life_s=1.0, weights=weights)
    model = cache.allocator.models["Z"]
    model.uses_total, model.last_used_s = 3, 5.0
    assert cache.policy.score(model, 5.0) == 3.0


def test_hit_density_of_counts():
    hits, evictions = np.zeros(BINS), np.zeros(BINS)
    one, three = bin_of(1.0), bin_of(3.0)
    hits[one], hits[three], evictions[three] = 6, 1, 3
    density = hit_density(hits, evictions)
    # age 0: 7 hits; 6 events of age 1 (2 units of time each) and 4 of age 3 (4 units): 28
    assert density[0] == pytest.approx(7 / 28)
    # age 1: the 6 have 1 unit left, the 4 have 3
    assert density[one] == pytest.approx(7 / 18)
    assert density[three] == pytest.approx(1 / 4)
    assert density[bin_of(4.0)] == 0.0


def test_lhd_before_it_has_learned_is_lru_by_size():
    cache = Cache("lhd", 4, {"A": {"vram_size_mb": 2}})
    assert cache.ask("BCBAD") == "C"  # B, C, A: ages 1, 2, 0 and sizes 1, 1, 2: 1/2, 1/3, 1/2
    assert cache.order() == "ABD"  # ages 1, 2, 0: 1/4, 1/3, 1


def test_lhd_learns_at_which_age_hope_ends():
    cache = Cache("lhd", 4)
    assert isinstance(cache.policy, LHD)
    for name in "CDEFGHIJKLMNOPQRSTUVWXYZ" * 10:
        cache.ask("AB" + name)  # A and B come back after 3 uses, the others do not before they leave
    density = cache.policy._density
    assert density[bin_of(2.0)] > density[bin_of(0.0)] > 0.0
    assert density[bin_of(8.0)] == 0.0


def test_random_is_fair_reproducible_and_not_moved_by_looking():
    cache = Cache("random", 4)
    cache.ask("ABCD")
    firsts = []
    for _ in range(2000):
        assert cache.order() == cache.order()
        assert sorted(cache.order()) == sorted(model for model in "ABCDE" if model in cache.order())
        firsts.append(cache.order().index(min(cache.order())))
        absent = next(name for name in "ABCDE" if name not in cache.order())
        cache.ask(absent)
    counts = np.bincount(firsts, minlength=4)
    assert np.abs(counts - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)
    again, other = Cache("random", 4), Cache("random", 4, seed=1)
    sequence = "ABCDEFGHIJKLMNOPABCDEFGH"
    assert Cache("random", 4).ask(sequence) == again.ask(sequence) != other.ask(sequence)
