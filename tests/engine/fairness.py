"""Is the bound kept? Read off a journal, with a list of who waits and nothing of the scheduler's own.

At each run's start, and at each decision to load, nobody who is due may wait with an earlier place for the
same thing: for a stream while its model is there, for a channel while its model is absent. Who is kept from
a model that somebody earlier needs to leave is not passed over by others (rule 2 of the scheduler).
"""

PATIENCE = {"critical": 0.0, "high": 0.5, "medium": 1.0, "low": 1.0}


def passed_over(lines, config, inventory):
    """All (time, request that was served, request that was passed over), in the order of time."""
    max_wait_s = config.serving.max_wait_s
    waiting, started_s, there, coming, leaving, found = {}, {}, set(), set(), set(), []
    for line in lines:
        if line.event == "arrival":
            detail = line.detail or {}
            priority = str(detail.get("priority") or inventory[line.model].priority.value)
            due_s = line.time_s + max_wait_s * PATIENCE[priority]
            waiting[line.task] = (due_s, line.task), line.model
        elif line.event == "start" and line.what == "infer on gpu" and line.task in waiting:
            for served in (line.task, *(line.detail or {}).get("joined", ())):
                place, _ = waiting.pop(served)
                started_s[served] = line.time_s
                due = earlier(waiting, place, line.time_s)
                blocked = any(model not in there | coming | leaving for _, model in due.values())
                found += [
                    (line.time_s, served, other)
                    for other, (_, model) in due.items()
                    if model in there and not blocked
                ]
        elif line.event == "decision" and line.what == "load":
            if line.task in waiting:
                due = earlier(waiting, waiting[line.task][0], line.time_s)
                absent = [o for o, (_, model) in due.items() if model not in there | coming | leaving]
                found += [(line.time_s, line.task, other) for other in absent]
            victims = (line.detail or {}).get("victims", ())
            there -= set(victims)
            leaving |= set(victims)
            coming.add(line.model)
        elif line.event == "decision" and line.what in ("cpu", "refuse"):
            waiting.pop(line.task, None)
        elif line.event in ("end", "fail") and line.what == "load on gpu":
            coming.discard(line.model)
            if line.event == "end":
                there.add(line.model)
        elif line.event == "start" and line.what == "unload":
            there.discard(line.model)
            leaving.add(line.model)
        elif line.event in ("end", "fail") and line.what == "unload":
            leaving.discard(line.model)
        elif line.event in ("done", "cancel"):
            waiting.pop(line.task, None)
    # those that begin at one moment pass nobody, in whatever order their stories go on
    return [(time_s, served, other) for time_s, served, other in found if started_s.get(other) != time_s]


def earlier(waiting, place, now_s):
    """Who is due, and has a place before that."""
    return {other: entry for other, entry in waiting.items() if entry[0] < place and entry[0][0] <= now_s}
