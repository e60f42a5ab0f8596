"""A request as everything from the caller to the journal hands it on, and its answer.

What its model is run with is the driver's affair alone: the journal may keep a request, and nobody's inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Final, NamedTuple
from uuid import UUID

from vramlab.config.errors import InputError
from vramlab.config.schema import Priority
from vramlab.engine.outcomes import Outcome

_PRIORITIES: Final = {priority.value: priority for priority in Priority}


class Request:
    """What is asked for. Nobody changes it: requests that are alike may share one.

    No dataclass, whose constructor the compiler leaves to the interpreter.

    Parameters
    ----------
    model : str
        That is asked for.
    items : int
        Along the batch axis.
    priority : Priority, optional
        Where it differs from the model's.
    requester : str, optional
        Who asks, for the journal.
    input_key : str, optional
        Requests of one model with equal keys have equal answers.
    """

    __slots__ = ("input_key", "items", "model", "priority", "requester")

    def __init__(
        self,
        model: str,
        items: int = 1,
        priority: Priority | None = None,
        requester: str | None = None,
        input_key: str | None = None,
    ) -> None:
        self.model, self.items, self.priority = model, items, priority
        self.requester, self.input_key = requester, input_key

    @classmethod
    def noted(
        cls,
        model: str,
        items: int = 1,
        priority: str | None = None,
        requester: str | None = None,
        input_key: str | None = None,
    ) -> Request:
        """From what a journal or a trace says, where the priority is a text."""
        return cls(model, items, None if priority is None else Priority(priority), requester, input_key)

    def details(self) -> dict[str, Any] | None:
        """What the journal notes beside the model; None where that is nothing."""
        if self.items == 1 and self.priority is None and self.requester is None and self.input_key is None:
            return None
        given = {
            "items": self.items,
            "priority": self.priority,
            "requester": self.requester,
            "input_key": self.input_key,
        }
        return {key: value for key, value in given.items() if value is not None}


def each_of(
    models: list[str],
    codes: Iterator[int],
    items: Iterator[int],
    priorities: Iterator[str | None],
    requesters: Iterator[str | None],
    input_keys: Iterator[str | None],
) -> Iterator[Request]:
    """Make requests as they are needed, out of columns of what :meth:`Request.noted` takes.

    Models are given by their place in `models`. It ends with `codes`; other columns may be without end.
    """
    rows = zip(codes, items, priorities, requesters, input_keys, strict=False)
    for code, count, text, requester, key in rows:
        yield Request(models[code], count, None if text is None else _PRIORITIES[text], requester, key)


class Ran(NamedTuple):
    """A request that others' run has answered, or that has run for others too."""

    outputs: Any


class Answer(NamedTuple):
    """What became of a request: how it ended, the outputs if it ran, and why if it did not."""

    outcome: Outcome
    outputs: Any = None
    why: str = ""


def as_text(what: str, value: object) -> str:
    """Give what the journal writes as text: as it is, or what is commonly meant by it.

    Raises
    ------
    InputError
        For what is no text, nor a whole number, a UUID or bytes, and text that no file can hold.
    """
    if type(value) is str:
        try:
            if value.isascii() or value.encode():
                return value
        except UnicodeEncodeError as error:
            raise InputError("request", what, ascii(value), "text that can be written as UTF-8") from error
        return value
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str | Integral | UUID) and not isinstance(value, bool):
        return as_text(what, str(value))
    raise InputError("request", what, f"{value!r:.60}", "text, a whole number, a UUID or bytes")
