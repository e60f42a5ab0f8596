"""Time-of-day and weekday profile: a model is asked for when it was on other days."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S


def week_offset_s(moment: datetime) -> float:
    """Seconds from Monday, 00:00 to `moment`, in the time zone that it is given in."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return moment.weekday() * DAY_S + (moment - midnight).total_seconds()


class _Counts:
    """In which slots and steps one model was asked for: by slot of the week and of the day, and in all."""

    __slots__ = ("by_day", "by_week", "slot", "step", "steps", "total")

    def __init__(self, slots_per_day: int) -> None:
        self.by_week = [(0, 0)] * (7 * slots_per_day)  # (slots asked for in, steps asked for in)
        self.by_day = [(0, 0)] * slots_per_day
        self.total = 0, 0
        self.slot = -1  # slot of the last request since time 0, its steps so far, and the last step
        self.steps = 0
        self.step = -1


class Profile:
    """How often a model was asked for in this hour on other days, this weekday's above all.

    Requests come in bursts, so the profile counts not requests but the slots (hours) and the steps (minutes)
    that had any. In a slot of the week the share of slots that had a request gives the probability for a
    whole slot, the share of steps that for a step; between the two, the cumulated hazard ``-ln(1 - p)`` is taken as
    a power of the time, and the hazards of neighbouring slots add up. Shares of a slot of the week are
    shrunk towards those of the slot of the day, these towards those of all time: each mean counts for
    `prior_weight` slots of the level below.

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

    def __init__(
        self,
        models: Iterable[str] = (),
        *,
        slot_s: float = 3600.0,
        step_s: float = 60.0,
        week_offset_s: float = 0.0,
        start_s: float | None = None,
        prior_weight: float = 2.0,
        prior_slots: float = 0.2,
    ) -> None:
        self._slots_per_day = max(1, round(DAY_S / slot_s))
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
            counts = self._counts[model] = _Counts(self._slots_per_day)
        if step == counts.step:
            return
        slot = step // self._steps_per_slot
        counts.step = step
        if slot == counts.slot:
            counts.steps += 1
            return
        if counts.steps:
            steps, week, day = (
                counts.steps,
                counts.slot % (7 * self._slots_per_day),
                counts.slot % self._slots_per_day,
            )
            counts.by_week[week] = _plus(counts.by_week[week], steps)
            counts.by_day[day] = _plus(counts.by_day[day], steps)
            counts.total = _plus(counts.total, steps)
        counts.slot, counts.steps = slot, 1

    def probability(self, model: str, now_s: float, horizon_s: float) -> float:
        """Of at least one request in the horizon, from the slots of the week that it covers."""
        counts = self._counts.get(model)
        position_s = now_s + self._offset_s
        now_slot = int(position_s // self._slot_s)
        first_s = position_s if self._start_s is None else self._start_s + self._offset_s
        # whole slots watched so far; the slot under way is neither in the counts nor here
        first_slot = math.ceil(first_s / self._slot_s)
        end_s = position_s + horizon_s
        hazard, slot = 0.0, now_slot
        while slot * self._slot_s < end_s:
            overlap_s = min(end_s, (slot + 1) * self._slot_s) - max(position_s, slot * self._slot_s)
            hazard += self._hazard(counts, slot, first_slot, now_slot, overlap_s)
            slot += 1
            if hazard > 40.0:  # the probability is 1 to the last digit
                break
        return -math.expm1(-hazard)

    def _hazard(self, counts: _Counts | None, slot: int, first: int, now: int, length_s: float) -> float:
        slots, steps = self._shares(counts, slot, first, now)
        slot_hazard, step_hazard = -math.log1p(-slots), -math.log1p(-steps)
        if step_hazard <= 0.0:
            return slot_hazard * length_s / self._slot_s
        if length_s <= self._step_s:
            return step_hazard * length_s / self._step_s
        power = min(1.0, max(0.0, math.log(slot_hazard / step_hazard) / self._log_steps))
        return step_hazard * float((length_s / self._step_s) ** power)

    def _shares(self, counts: _Counts | None, slot: int, first: int, now: int) -> tuple[float, float]:
        """Shares of slots and of steps with a request in this slot of the week, both below 1."""
        per_day, per_week, weight = self._slots_per_day, 7 * self._slots_per_day, self._prior_weight
        watched = max(0, now - first)
        prior_slots = self._prior_slots
        # without counts, a slot with a request is taken to have one step with a request
        prior_steps = prior_slots / self._steps_per_slot
        divisor = watched + per_day
        if counts is None:
            return prior_slots / divisor, prior_steps / divisor
        share_slots, share_steps = self._total(counts, now, first)
        share_slots = (share_slots + prior_slots) / divisor
        share_steps = (share_steps / self._steps_per_slot + prior_steps) / divisor
        for cells, period in ((counts.by_day, per_day), (counts.by_week, per_week)):
            cell = slot % period
            in_slots, in_steps = cells[cell]
            if counts.steps and first <= counts.slot < now and counts.slot % period == cell:
                in_slots, in_steps = in_slots + 1, in_steps + counts.steps
            exposure = (now - 1 - cell) // period - (first - 1 - cell) // period if now > first else 0
            share_slots = (min(in_slots, exposure) + weight * share_slots) / (exposure + weight)
            share_steps = (min(in_steps / self._steps_per_slot, exposure) + weight * share_steps) / (
                exposure + weight
            )
        return share_slots, share_steps

    def _total(self, counts: _Counts, now: int, first: int) -> tuple[float, float]:
        slots, steps = counts.total
        if counts.steps and first <= counts.slot < now:
            slots, steps = slots + 1, steps + counts.steps
        watched = max(0, now - first)
        return min(slots, watched), min(steps, watched * self._steps_per_slot)


def _plus(cell: tuple[int, int], steps: int) -> tuple[int, int]:
    return cell[0] + 1, cell[1] + steps
