"""A user's policies, as tests name them."""

from vramlab.allocator.policies import Policy
from vramlab.allocator.policies.fifo import FIFO

NUMBER = 3


def largest_first(model, now_s):
    return -model.bytes


class NewestFirst(Policy):
    def __init__(self):
        self.models = []

    def admitted(self, model, now_s):
        self.models.append(model)

    def used(self, model, now_s):
        pass

    def removed(self, model, evicted):
        self.models.remove(model)

    def score(self, model, now_s):
        return 0.0

    def ranked(self, now_s):
        return reversed(self.models)


class NotAPolicy:
    def admitted(self, model, now_s):
        pass


class Duck:
    """Has the methods, and says nothing about the switches."""

    def __init__(self):
        self.queue = FIFO()

    def admitted(self, model, now_s):
        self.queue.admitted(model, now_s)

    def used(self, model, now_s):
        self.queue.used(model, now_s)

    def removed(self, model, evicted):
        self.queue.removed(model, evicted)

    def score(self, model, now_s):
        return 0.0

    def ranked(self, now_s):
        return self.queue.ranked(now_s)


def not_a_number(model, now_s):
    return float("nan")


def a_text(model, now_s):
    return "dear"


def divides(model, now_s):
    return 1 / 0


def divides_at_rest(model, now_s):
    return 1 / model.pins


class Forgets(Duck):
    """Raises at the first victim."""

    def removed(self, model, evicted):
        raise KeyError("gone")


class LazilyWrong(Duck):
    """Raises when its order is looked at, and not when it is asked for."""

    def ranked(self, now_s):
        yield from ()
        raise RuntimeError("no order")


def worth_by(model, now_s, power=1):
    return model.bytes**power


class Every(Duck):
    """Takes an option."""

    def __init__(self, n=1):
        super().__init__()
        self.n = n
