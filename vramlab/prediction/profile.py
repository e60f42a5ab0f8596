"""Time-of-day and weekday profile: a model is asked for when it was on other days."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

from vramlab.prediction.predictor import require_positive

DAY_S = 86_400.0
# Cumulated hazard from which on the probability is 1 to the last digit.
_CERTAIN = 40.0


def week_offset_s(moment: datetime) -> float:
    """Return seconds from Monday, 00:00 to `moment`, in the time zone that it is given in."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return moment.weekday() * DAY_S + (moment - midnight).total_seconds()


class _Counts:
    """Slots and steps in which one model was asked for: in all, by slot of the day and by slot of the week.

    The slot under way is kept apart, for its hour is not over.
    """

    __slots__ = ("levels", "slot", "step", "steps")

    def __init__(self, periods: tuple[int, ...]) -> None:
        self.levels = [[(0, 0)] * period for period in periods]  # (slots, steps) that had a request
        self.slot = self.step = -1  # of the last request
        self.steps = 0  # of its slot that had a request

    def close_slot(self) -> None:
        """Enter the slot of the last request."""
        for cells in self.levels:
            slots, steps = cells[self.slot % len(cells)]
            cells[self.slot % len(cells)] = slots + 1, steps + self.steps


class Profile:
    """How often a model was asked for in this hour on other days, this weekday's above all.

    Requests come in bursts, so the profile counts not requests but the slots (hours) and the steps (minutes)
    that had any. In a slot of the week, the share of slots with a request is the probability for a whole
    slot. The share of steps is that for a step. Between the two, the cumulated hazard ``-ln(1 - p)`` is a
    power of the time. Hazards of neighbouring slots add up. Shares of a slot of the week are shrunk towards
    those of the slot of the day, these towards those of all time: each counts for `prior_weight` slots of the
    level below it.

    Parameters
    ----------
    models : iterable of str
        Not needed: a model that was never asked for has no counts.
    slot_s, step_s : float
        Length of a slot, a whole part of a day, and of a step, a whole part of a slot.
    week_offset_s : float
        Seconds from Monday 00:00 to time 0; :func:`week_offset_s` tells it of a date.
    start_s : float, optional
        Since when requests are shown; without it, since the first.
    prior_weight : float
        Slots that the level above counts for.
    prior_slots : float
        Slots with a request that a model never asked for is given in advance, in one day.
    """

    # These are the options that `predictor_options` may name.
    def __init__(
        self,
        models: Iterable[str] = (),
        *,
        slot_s: float = 3600.0,
        step_s: float = 60.0,
        week_offset_s: float = 0.0,
        start_s: float | None = None,
        prior_weight: float = 4.0,
        prior_slots: float = 0.2,
    ) -> None:
        require_positive("profile", slot_s=slot_s, step_s=step_s)
        require_positive("profile", prior_weight=prior_weight, prior_slots=prior_slots)
        self._slots_per_day = max(1, round(DAY_S / slot_s))
        self._periods = 1, self._slots_per_day, 7 * self._slots_per_day
        self._slot_s = DAY_S / self._slots_per_day
        self._steps_per_slot = max(2, round(self._slot_s / step_s))
        self._step_s = self._slot_s / self._steps_per_slot
        self._log_steps = math.log(self._steps_per_slot)
        self._offset_s = week_offset_s
        self._start_s = start_s
        self._prior_weight = prior_weight
        self._prior_slots = prior_slots
        self._counts: dict[str, _Counts] = {}

    def observe(self, model: str, now_s: float) -> None:
        """Count the minute, and enter the last slot of `model` into its profile if this is another."""
        if self._start_s is None:
            self._start_s = now_s
        step = int((now_s + self._offset_s) // self._step_s)
        counts = self._counts.get(model)
        if counts is None:
            counts = self._counts[model] = _Counts(self._periods)
        if step == counts.step:
            return
        slot = step // self._steps_per_slot
        if slot == counts.slot:
            counts.steps += 1
        else:
            if counts.slot >= self._first_slot(now_s):
                counts.close_slot()
            counts.slot, counts.steps = slot, 1
        counts.step = step

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Return the probability of at least one request in the horizon, from the slots that it covers."""
        counts = self._counts.get(model)
        begin_s = now_s + self._offset_s
        end_s = begin_s + horizon_s
        now_slot = slot = int(begin_s // self._slot_s)
        first_slot = self._first_slot(now_s)
        hazard = 0.0
        # beyond the first week it is the same every week: a horizon of decades takes no longer
        further_weeks = max(0, int(horizon_s // (7 * DAY_S)) - 1)
        if further_weeks:
            end_s -= further_weeks * 7 * DAY_S
            hazard = further_weeks * sum(
                self._hazard(*self._shares(counts, cell, first_slot, now_slot), self._slot_s)
                for cell in range(7 * self._slots_per_day)
            )
        while slot * self._slot_s < end_s and hazard < _CERTAIN:
            covered_s = min(end_s, (slot + 1) * self._slot_s) - max(begin_s, slot * self._slot_s)
            hazard += self._hazard(*self._shares(counts, slot, first_slot, now_slot), covered_s)
            slot += 1
        return -math.expm1(-hazard)

    def _first_slot(self, now_s: float) -> int:
        """Return the first slot that was watched from its beginning."""
        start_s = now_s if self._start_s is None else self._start_s
        return math.ceil((start_s + self._offset_s) / self._slot_s)

    def _hazard(self, slots: float, steps: float, length_s: float) -> float:
        """Return the hazard of a part of a slot, from the shares of slots and of steps with a request."""
        slot_hazard, step_hazard = -math.log1p(-slots), -math.log1p(-steps)
        if length_s <= self._step_s:
            return step_hazard * max(0.0, length_s) / self._step_s
        power = max(0.0, math.log(slot_hazard / step_hazard) / self._log_steps)
        return step_hazard * float((length_s / self._step_s) ** power)

    def _shares(self, counts: _Counts | None, slot: int, first: int, now: int) -> tuple[float, float]:
        """Return shares of slots and of steps with a request in this slot of the week, between 0 and 1."""
        weight: float = self._slots_per_day
        slots = self._prior_slots / weight
        steps = slots / self._steps_per_slot  # a slot with a request is taken to have one step with a request
        for level, period in enumerate(self._periods):
            cell = slot % period
            in_slots = in_steps = 0
            # of the slots from `first` up to `now`, the one under way, those that are this cell
            watched = max(0, (now - 1 - cell) // period - (first - 1 - cell) // period)
            if counts is not None:
                in_slots, in_steps = counts.levels[level][cell]
                if first <= counts.slot < now and counts.slot % period == cell:
                    in_slots, in_steps = in_slots + 1, in_steps + counts.steps
            slots = (in_slots + weight * slots) / (watched + weight)
            steps = (in_steps / self._steps_per_slot + weight * steps) / (watched + weight)
            weight = self._prior_weight
        return slots, steps
