"""The judge is judged: outcomes, scores and tables by hand, no peeking; then the real trace."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.prediction.streams import Constant, merged, poisson
from vramlab.config.errors import InputError
from vramlab.prediction.calibration import Forecasts, frequency, reliability, running_base_rate, scores, walk
from vramlab.prediction.registry import PREDICTORS, accepts, make_predictor
from vramlab.traces.importers.genai_2026 import import_genai_2026

REAL = Path(__file__).resolve().parents[3] / "shared/data/genai_2026_requests.csv.gz"


def forecasts(probability, outcome, time_s=None, model="A", horizon_s=10.0):
    n = len(probability)
    return Forecasts(
        time_s=np.arange(n) * 10.0 if time_s is None else np.asarray(time_s, dtype=float),
        model=np.asarray([model] * n, dtype=object),
        horizon_s=np.full(n, horizon_s),
        probability=np.asarray(probability, dtype=float),
        outcome=np.asarray(outcome, dtype=bool),
    )


class Recorder(Constant):
    """Writes down what it was shown and asked."""

    def __init__(self):
        super().__init__(0.5)
        self.log = []

    def observe(self, model, now_s):
        self.log.append((model, now_s))

    def probability(self, model, now_s, horizon_s):
        self.log.append(now_s)
        return self.value


def test_walk_by_hand():
    predictor = Recorder()
    result = walk(
        predictor, [0, 10, 15, 30], ["A", "B", "A", "A"], horizons_s=[5, 15], interval_s=10, asked=["A"]
    )
    # a request at the time of a forecast is not shown before it, and belongs to its outcome
    assert predictor.log == [("A", 0.0), 10.0, 10.0, ("B", 10.0), ("A", 15.0), 20.0, 20.0]
    frame = pd.DataFrame(result.columns())
    assert list(frame.columns) == ["time_s", "model", "horizon_s", "probability", "outcome"]
    assert frame[["time_s", "horizon_s", "outcome"]].values.tolist() == [
        [10.0, 5.0, False],  # [10, 15): the one at 15 is outside
        [10.0, 15.0, True],
        [20.0, 5.0, False],  # and [20, 35) reaches beyond the end: dropped
    ]


def test_outcomes_against_brute_force():
    times, models = merged(poisson(1 / 300, 50_000, 1, "A"), poisson(1 / 3000, 50_000, 2, "B"))
    result = walk(
        Constant(0.5), times, models, horizons_s=[60, 700], interval_s=333, start_s=5000, end_s=45_000
    )
    assert len(result) > 400
    for time_s, model, horizon_s, _, outcome in zip(*result.columns().values(), strict=True):
        came = any(
            m == model and time_s <= t < time_s + horizon_s for t, m in zip(times, models, strict=True)
        )
        assert came == outcome
        assert 5000 < time_s <= 45_000 - horizon_s


@pytest.mark.parametrize("name", list(PREDICTORS))
def test_no_peeking(name):
    """Another future leaves the forecasts made before it as they are."""
    times, models = merged(poisson(1 / 200, 60_000, 1, "A"), poisson(1 / 1500, 60_000, 2, "B"))
    cut = next(i for i, t in enumerate(times) if t >= 30_000)
    other = [*times[:cut], *(t + 7.0 for t in times[cut:])], [*models[:cut], *models[cut:][::-1]]
    asked = {"horizons_s": [60, 600], "interval_s": 300, "asked": ["A", "B"], "end_s": 60_000}
    results = [
        walk(make_predictor(name, ["A", "B"]), *stream, **asked) for stream in ((times, models), other)
    ]
    before = results[0].time_s <= 30_000
    assert before.sum() > 100
    assert np.array_equal(results[0].probability[before], results[1].probability[before])
    assert not np.array_equal(results[0].probability, results[1].probability)


def test_scores_by_hand():
    result = forecasts([0.8, 0.4], [True, False])
    assert result.brier == pytest.approx((0.04 + 0.16) / 2)
    assert result.log_loss == pytest.approx(-(math.log(0.8) + math.log(0.6)) / 2)
    assert forecasts([0.0], [True]).log_loss == pytest.approx(-math.log(1e-6))


def test_reliability_by_hand():
    table = reliability(forecasts([0.0, 0.1, 0.5, 0.55, 1.0], [False, True, True, False, True]), bins=2)
    assert table["forecasts"].tolist() == [2, 3]
    assert table["low"].tolist() == [0.0, 0.5]
    assert table["mean_probability"] == pytest.approx([0.05, 2.05 / 3])
    assert table["share_true"] == pytest.approx([0.5, 2 / 3])


def test_base_rates_by_hand():
    result = forecasts([0.5] * 4, [True, False, True, True])
    # outcomes are known 10 s later, that is by the next forecast
    assert running_base_rate(result) == pytest.approx([0.5, 1.5 / 2, 1.5 / 3, 2.5 / 4])
    late = forecasts([0.5] * 4, [True, False, True, True], horizon_s=15.0)
    assert running_base_rate(late) == pytest.approx([0.5, 0.5, 1.5 / 2, 1.5 / 3])
    assert frequency(result) == pytest.approx([0.75] * 4)


def test_scores_by_day_and_model():
    parts = [
        forecasts([0.9, 0.9], [True, True], [0, 86_399], "A"),
        forecasts([0.2, 0.2], [False, True], [86_400, 86_401], "B"),
    ]
    result = Forecasts(
        **{key: np.concatenate([p.columns()[key] for p in parts]) for key in parts[0].columns()}
    )
    table = scores(result, by=("day", "model"))
    assert table["day"].tolist() == [0, 1]
    assert table["model"].tolist() == ["A", "B"]
    assert table["brier"] == pytest.approx([0.01, (0.04 + 0.64) / 2])
    assert scores(result, by=())["forecasts"].tolist() == [4]
    with pytest.raises(InputError, match="found 'weekday'"):
        scores(result, by=("weekday",))


@pytest.mark.parametrize(
    "change",
    [{"times_s": [1, 0]}, {"models": ["A"]}, {"interval_s": 0}, {"horizons_s": [5, -1]}],
)
def test_walk_refuses(change):
    settings = {"times_s": [0, 1], "models": ["A", "A"], "horizons_s": [5], "interval_s": 1, **change}
    with pytest.raises(InputError, match="walk"):
        walk(Constant(0.5), settings.pop("times_s"), settings.pop("models"), **settings)


@pytest.mark.skipif(not REAL.exists(), reason="the real trace is not here")
def test_real_trace():
    """Every predictor beats the base rate known so far; the combination keeps up with the best of them."""
    trace, _ = import_genai_2026(REAL)
    models = trace.frame["model"]
    top = list(models.value_counts().index[:10])
    offset = {"week_offset_s": 4 * 86_400 + 16 * 3600 + 57 * 60 + 50}  # a Friday, 16:57:50
    tables = {}
    for name in PREDICTORS:
        options = offset if accepts(name, "week_offset_s") else {}
        result = walk(
            make_predictor(name, trace.model_names, start_s=0.0, **options),
            trace.times_s,
            models.to_numpy(),
            horizons_s=[60.0, 600.0, 3600.0],
            interval_s=1800.0,
            asked=top,
            start_s=2 * 86_400.0,
        )
        tables[name] = scores(result)
    for name, table in tables.items():
        assert np.all(table["brier"] < table["base_brier"]), name
        assert np.all(table["log_loss"] < table["base_log_loss"]), name
    best = np.min([table["log_loss"] for name, table in tables.items() if name != "combined"], axis=0)
    assert np.all(tables["combined"]["log_loss"] < 1.03 * best)
