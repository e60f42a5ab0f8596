"""What the allocator asks of a policy."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from vramlab.allocator.models import Model
from vramlab.allocator.runs import Run


class Policy(Protocol):
    """Ranks the models of one zone; one instance serves one zone.

    A class of one's own may take this as its base and so inherit the switches.

    Attributes
    ----------
    in_order : bool
        Victims are taken strictly in the order of :meth:`ranked`; else those that later ones make
        unnecessary are spared.
    merges_uses : bool
        Uses between two misses may be handed in together: :meth:`used` once per model, in the order of the
        models' last uses, with the account of the model already at that last use. True where the state is
        per model and follows from the account alone.
    takes_runs : bool
        The same, by :meth:`used_together` alone: for who needs to know the time of each use, and looks it up
        in the run. Where the run's columns do not suit, its uses are handed in one by one.
    adds_up : bool
        Scores of several models may be compared with each other as sums (``victims: exact``).
    """

    in_order: bool = False
    merges_uses: bool = False
    takes_runs: bool = False
    adds_up: bool = True

    def admitted(self, model: Model, now_s: float) -> None:
        """`model` is being loaded for a request, or preloaded; its account is already up to date."""

    def used(self, model: Model, now_s: float) -> None:
        """A request asked for `model`, which is tracked; its account is already up to date."""

    def used_together(self, run: Run) -> None:
        """Many uses at once, to the same end as one after the other; asked of who merges uses or takes runs.

        The accounts of the models are not up to date. One after the other by default; worth writing anew
        where columns do it faster, as long as what is asked next (:meth:`ranked`, :meth:`removed`,
        :meth:`used`) does not read an account that the run has moved.
        """
        for model in run.caught_up():
            self.used(model, model.last_used_s)

    def removed(self, model: Model, evicted: bool) -> None:
        """`model` leaves: as a victim, or (`evicted` false) because its load failed or it was unloaded."""

    def bid(self, model: Model, now_s: float) -> float:
        """What a newcomer offers against its victims (admission ``compete``); its score by default.

        What comes of it is the next thing that the policy hears, as :meth:`rejected`, or as
        :meth:`removed` of the victims and :meth:`admitted`.
        """
        return self.score(model, now_s)

    def rejected(self, model: Model, now_s: float) -> None:
        """`model` was asked for and not admitted, being worth less than its victims; nothing by default."""
        return None

    def grown(self, model: Model) -> None:
        """`model`, which is not tracked, has turned out larger than it was; nothing by default."""
        return None

    def score(self, model: Model, now_s: float) -> float:
        """How much `model`, tracked or not, is worth keeping; the lowest leaves first."""
        raise NotImplementedError

    def ranked(self, now_s: float) -> Iterable[Model]:
        """All tracked models, the first to leave first.

        May be lazy: it is consumed before anything else is told to the policy. It changes nothing that
        shows, as the victims may turn out not to be enough, and nobody leaves.
        """
        raise NotImplementedError
