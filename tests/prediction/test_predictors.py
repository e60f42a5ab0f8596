"""The predictors one by one: examples worked by hand, and what each is there to foresee."""

import math
from datetime import datetime

import numpy as np
import pytest

from tests.prediction.streams import merged, poisson, shown
from vramlab.prediction.ewma import Ewma
from vramlab.prediction.histogram import Histogram, Windows
from vramlab.prediction.predictor import gamma_poisson
from vramlab.prediction.profile import Profile, week_offset_s
from vramlab.prediction.registry import PREDICTORS, make_predictor
from vramlab.prediction.successor import Successor

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
ALMOST_NOTHING = 1e-12


def test_gamma_poisson_by_hand():
    # (10 + 10) / (10 + 10 + 10) = 2/3, to the power of 1 + 1
    assert gamma_poisson(1, 10, 10, prior_requests=1, prior_s=10) == pytest.approx(5 / 9)
    assert gamma_poisson(1e6, 1e6, 2, prior_requests=1, prior_s=1) == pytest.approx(
        1 - math.exp(-2), abs=1e-5
    )


class TestEwma:
    def test_without_fading_it_counts(self):
        predictor = Ewma(half_life_s=math.inf, prior_requests=1, prior_s=10, start_s=0)
        shown(predictor, [0, 10], ["A", "A"])
        # 1 + 2 requests in 10 + 30 s; (40 / 60) ** 3 = 8/27
        assert predictor.probability("A", 30, 20) == pytest.approx(19 / 27)
        assert predictor.probability("B", 30, 20) == pytest.approx(1 / 3)

    def test_requests_and_seconds_fade(self):
        predictor = Ewma(half_life_s=100, prior_requests=1, prior_s=50, start_s=0)
        shown(predictor, [0, 100], ["A", "A"])
        # at 200 s the requests count 1/4 and 1/2; the seconds add up to the integral of 2 ** (-t / 100)
        steps = (np.arange(200_000) + 0.5) / 1000
        exposure_s = np.sum(2.0 ** (-steps / 100)) / 1000
        known_s = 50 + exposure_s
        expected = 1 - (known_s / (known_s + 30)) ** 1.75
        assert predictor.probability("A", 200, 30) == pytest.approx(expected, rel=1e-6)

    def test_starts_with_the_first_request_where_nothing_is_said(self):
        late, told = Ewma(), Ewma(start_s=1e9)
        for predictor in (late, told):
            shown(predictor, [1e9, 1e9 + 100], ["A", "A"])
        assert late.probability("A", 1e9 + 500, 60) == told.probability("A", 1e9 + 500, 60)

    def test_forgets(self):
        predictor = shown(Ewma(half_life_s=600, start_s=0), range(0, 600, 10), ["A"] * 60)
        soon, later = predictor.probability("A", 610, 60), predictor.probability("A", 610 + 4 * HOUR, 60)
        assert soon > 0.9
        assert later < 0.02


class TestHistogram:
    @pytest.fixture
    def predictor(self):
        # idle times of 90 s three times, 200 s once
        return shown(Histogram(prior_weight=ALMOST_NOTHING), [0, 90, 180, 270, 470], ["A"] * 5)

    def test_share_of_idle_times_that_end(self, predictor):
        # after 60 s all four still last; three end in the bin from 60 to 120 s
        assert predictor.probability("A", 470 + 60, 60) == pytest.approx(3 / 4)
        # in the middle of that bin half of the three, 1.5 and 1 last; after it, 1
        assert predictor.probability("A", 470 + 90, 30) == pytest.approx(1.5 / 2.5)
        # nothing was ever idle from 120 to 180 s and then asked for
        assert predictor.probability("A", 470 + 120, 60) == pytest.approx(0.0, abs=1e-9)
        assert predictor.probability("A", 470 + 120, 120) == pytest.approx(1.0)

    def test_prior_of_all_models(self):
        # B was asked for once: as of B itself nothing is known, the idle times of A speak for it
        predictor = shown(Histogram(prior_weight=1), [0, 90, 180, 270, 300], ["A", "A", "A", "A", "B"])
        mean = gamma_poisson(1, 360, 60)
        pooled = (3 + mean) / (3 + 1)  # three idle times end in the bin; the mean rate counts for one
        assert predictor.probability("B", 360, 60) == pytest.approx(pooled)

    def test_idle_times_beyond_the_bins_are_exponential(self):
        predictor = Histogram(bin_s=10, range_s=100, prior_weight=ALMOST_NOTHING)
        shown(predictor, [0, 150, 400], ["A"] * 3)  # 50 and 150 s beyond: 100 s on average
        assert predictor.probability("A", 400 + 300, 100) == pytest.approx(1 - math.exp(-1))
        assert predictor.probability("A", 400, 100) == pytest.approx(0.0, abs=1e-9)

    def test_windows_of_the_histogram(self):
        idle = [30 * MINUTE, *[60.5 * MINUTE] * 98, 90 * MINUTE]
        predictor = shown(Histogram(), np.cumsum([0.0, *idle]), ["A"] * 101)
        # 5th percentile in the bin from 60 minutes on, 99th in the same: 60 less 10%, to 61 and 10% more
        windows = predictor.windows("A")
        assert windows.basis == "histogram"
        assert windows.prewarm_s == pytest.approx(54 * MINUTE)
        assert windows.prewarm_s + windows.keep_alive_s == pytest.approx(67.1 * MINUTE)

    def test_windows_of_the_forecast(self):
        predictor = shown(Histogram(), [0, 5 * HOUR, 10 * HOUR], ["A"] * 3)
        assert predictor.windows("A") == pytest.approx((4.25 * HOUR, 1.5 * HOUR, "forecast"))
        # the next idle time is smoothed in with 30%: 5 h + 0.3 * 2 h
        predictor.observe("A", 17 * HOUR)
        assert predictor.windows("A").prewarm_s == pytest.approx(0.85 * 5.6 * HOUR)

    def test_windows_by_default(self):
        predictor = Histogram()
        assert predictor.windows("A") == Windows(0.0, 4 * HOUR, "default")
        # one idle time in each bin: flat
        shown(predictor, np.cumsum([0.0, *(np.arange(240) + 0.5) * MINUTE]), ["A"] * 241)
        assert predictor.windows("A") == Windows(0.0, 4 * HOUR, "default")

    def test_a_periodic_model_is_foreseen(self):
        predictor = shown(Histogram(), np.arange(48) * HOUR, ["A"] * 48)
        last = 47 * HOUR
        assert predictor.probability("A", last + 10 * MINUTE, 10 * MINUTE) < 0.02
        assert predictor.probability("A", last + 55 * MINUTE, 10 * MINUTE) > 0.9
        windows = predictor.windows("A")
        assert windows.prewarm_s < HOUR < windows.prewarm_s + windows.keep_alive_s


class TestProfile:
    def test_by_hand(self):
        # asked for at 09:05 from Monday to Sunday; now it is Monday, 09:00
        predictor = shown(
            Profile(start_s=0, prior_weight=2), [d * DAY + 9 * HOUR + 300 for d in range(7)], ["A"] * 7
        )
        in_all = (7 + 0.2) / (7 * 24 + 9 + 24)
        by_day = (7 + 2 * in_all) / (7 + 2)
        by_week = (1 + 2 * by_day) / (1 + 2)
        assert predictor.probability("A", 7 * DAY + 9 * HOUR, HOUR) == pytest.approx(by_week)
        # a minute: one of sixty in each of these hours
        in_all, by_day = in_all / 60, (7 / 60 + 2 * in_all / 60) / 9
        by_week = (1 / 60 + 2 * by_day) / 3
        assert predictor.probability("A", 7 * DAY + 9 * HOUR, MINUTE) == pytest.approx(by_week)
        # at noon it was never asked for
        assert predictor.probability("A", 7 * DAY + 12 * HOUR, HOUR) < 0.02

    def test_the_hour_under_way_does_not_count_yet(self):
        predictor = shown(Profile(start_s=0), [30 * HOUR + 60], ["A"])
        fresh = Profile(start_s=0)
        now = 30 * HOUR + 1800
        assert predictor.probability("A", now, 600) == fresh.probability("A", now, 600)
        later = 31 * HOUR + 60
        assert predictor.probability("A", later, 600) > fresh.probability("A", later, 600)

    def test_weekdays_differ(self):
        offset = week_offset_s(datetime(2024, 11, 13))  # a Wednesday
        assert offset == 2 * DAY
        times = [d * DAY + 9 * HOUR for d in range(28) if (d + 2) % 7 < 5]
        predictor = shown(Profile(start_s=0, week_offset_s=offset), times, ["A"] * len(times))
        # day 28 is a Wednesday, day 31 a Saturday
        assert predictor.probability("A", 28 * DAY + 9 * HOUR, HOUR) > 0.8
        assert predictor.probability("A", 31 * DAY + 9 * HOUR, HOUR) < 0.4

    def test_week_offset(self):
        assert week_offset_s(datetime(2024, 11, 15, 16, 57, 50)) == 4 * DAY + 16 * HOUR + 57 * MINUTE + 50


class TestSuccessor:
    @pytest.fixture
    def predictor(self):
        # ten times A, and B three seconds later; then A once more
        times, models = [], []
        for start in range(0, 10_000, 1000):
            times += [start, start + 3]
            models += ["A", "B"]
        return shown(Successor(start_s=0), [*times, 10_000], [*models, "A"])

    def test_by_hand(self, predictor):
        # B has one visit, as it was never idle for 1800 s; that rate, in a bin of 2 s, counts for 4 trials
        rate = (1 + 0.1) / (10_002 + 3600)
        share = (10 + 4 * (1 - math.exp(-2 * rate))) / (10 + 4)
        assert predictor.probability("B", 10_002, 2) == pytest.approx(share)
        # half of the bin has the square root of the chance to be spared
        rate = (1 + 0.1) / (10_003 + 3600)
        share = (10 + 4 * (1 - math.exp(-2 * rate))) / (10 + 4)
        assert predictor.probability("B", 10_003, 1) == pytest.approx(1 - math.sqrt(1 - share))

    def test_a_pipeline_is_foreseen(self):
        pipeline = [
            (t + lag, m) for t in range(500, 200_000, 1700) for lag, m in ((0, "A"), (5, "B"), (9, "C"))
        ]
        noise = poisson(1 / 300, 200_000, seed=3, model="N")
        times, models = merged(([t for t, _ in pipeline], [m for _, m in pipeline]), noise)
        predictor = shown(Successor(start_s=0), times, models)
        now = times[-1] + 5000
        before = predictor.probability("C", now, 30)
        predictor.observe("A", now)
        assert predictor.probability("C", now + 1, 30) > 0.9
        assert predictor.probability("B", now + 1, 30) > 0.9
        assert predictor.probability("C", now + 1, 2) < 0.2  # not yet
        assert predictor.probability("C", now + 600, 30) < 0.2  # not any more
        assert before < 0.2

    def test_no_more_models_are_watched_than_asked(self):
        predictor = shown(Successor(order=2, start_s=0), [0, 1, 2, 3], ["A", "B", "C", "D"])
        # A is not watched when D comes: the pair was never seen, so the rate of visits decides
        assert predictor.probability("D", 4, 10) == gamma_poisson(1, 4, 10)
        predictor.observe("A", 5)
        assert predictor.probability("B", 5, 10) > predictor.probability("D", 5, 10)


@pytest.mark.parametrize("name", PREDICTORS)
def test_a_gap_of_a_million_years_takes_no_longer_than_a_day(name):
    predictor = make_predictor(name, ["a", "b"])
    predictor.observe("a", 0.0)
    predictor.observe("b", 3e13)
    assert 0 <= predictor.probability("a", 3e13, 3e13) <= 1


def test_a_long_horizon_is_the_sum_of_its_weeks():
    week_s = 7 * 86_400.0
    profile = Profile()
    rng = np.random.default_rng(0)
    for time_s in np.sort(rng.uniform(0, 100 * week_s, 40)):
        profile.observe("a", float(time_s))
    now_s = 100 * week_s + 1234.5
    hazards = [-math.log1p(-profile.probability("a", now_s, weeks * week_s + 100.0)) for weeks in range(1, 5)]
    steps = np.diff(hazards)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-9)
