"""Cutting a request into runs of a few items, joining requests, and the proof that this changes no answer.

A request is split, or joined with others, only where its inventory says ``splits: true``. ``vramlab profile``
writes that after :func:`why_not_split` has found nothing: whole and split answers were equal bit for bit, for
items that differ in kind and in size, in several numbers and orders. Whether an axis is a batch cannot be
seen from a file: time, a mean over all rows, a sum of another order look just the same. Trying is evidence,
and no proof: so operators that are known to join rows are a reason by themselves, and an answer that says
nothing is no evidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vramlab.live.errors import SessionError
from vramlab.live.values import Feeds, InputInfo, equal_answers

Run = Callable[[Feeds], list[Any]]
_SIZES = (1.0, 30.0, 1e-3, 1000.0, 0.1, -3.0)  # by which numbers of an item are multiplied


class BatchAxis(NamedTuple):
    """What looks like a batch: the first axis of some inputs.

    Attributes
    ----------
    names : tuple of str
        Inputs whose first axis it is.
    fixed : int or None
        Its length where the file fixes it.
    """

    names: tuple[str, ...]
    fixed: int | None

    def items(self, inputs: Mapping[str, Any]) -> int:
        """Number of items in a request; 1 where its inputs do not say."""
        return items_of(self.names, inputs)


def items_of(names: tuple[str, ...], inputs: Mapping[str, Any]) -> int:
    """Do what :meth:`BatchAxis.items` does: a hit calls this, as methods of tuples are looked up."""
    for name in names:
        value = inputs.get(name)
        shape = getattr(value, "shape", None)
        if shape:
            return int(shape[0])
        if shape is None and isinstance(value, list | tuple):
            return len(value)
    return 1


def batch_axis(inputs: Sequence[InputInfo]) -> BatchAxis | None:
    """The axis that counts items: the first one of the first input that has two axes or more.

    It is open, or fixed at some length; every input that names its first axis alike shares it. None for
    models without such an input.
    """
    if not inputs or len(inputs[0].shape) < 2 or not inputs[0].type.startswith("tensor"):
        return None
    length = inputs[0].shape[0]
    alike = length is not None and length != -1  # axes without a name have nothing to do with each other
    names = [info.name for info in inputs[1:] if alike and info.shape and info.shape[0] == length]
    fixed = length if isinstance(length, int) and length > 0 else None
    return BatchAxis((inputs[0].name, *names), fixed)


def run_split(run: Run, inputs: Mapping[str, Any], axis: BatchAxis, size: int) -> list[Any]:
    """Run at most `size` items at a time, and join the answers.

    Where the file fixes the batch, that is the size; a short rest is filled up with its last item, whose
    surplus answers are cut off. Arrays are joined along their first axis, lists one after the other.

    Raises
    ------
    SessionError
        If inputs differ in their number of items, or an answer is neither.
    """
    size = axis.fixed or size
    arrays = {name: np.asarray(inputs[name]) for name in axis.names if name in inputs}
    lengths = {name: len(array) for name, array in arrays.items()}
    items = axis.items(inputs)
    if any(length != items for length in lengths.values()):
        raise SessionError(f"inputs differ in their number of items: {lengths}")
    parts = []
    for start in range(0, items, size):
        count = min(size, items - start)
        chunk = dict(inputs)
        for name, array in arrays.items():
            chunk[name] = _filled(array[start : start + count], axis.fixed or count)
        parts.append([_cut(output, axis.fixed or count, count) for output in run(chunk)])
    return [_joined(column) for column in zip(*parts, strict=True)]


def run_joined(run: Run, requests: Sequence[Mapping[str, Any]], axis: BatchAxis | None) -> list[list[Any]]:
    """Run requests as one, and split the answers again.

    They are run one after the other where they cannot be joined: their items differ in shape or type, or what
    else they are run with is not equal.

    Returns
    -------
    list of list
        Of each request, what a run of its own would give.

    Raises
    ------
    SessionError
        If a run fails, or gives an answer without items.
    """
    if axis is None or not all(_alike(inputs, requests[0], axis) for inputs in requests):
        return [run(dict(inputs)) for inputs in requests]
    joined = dict(requests[0])
    for name in axis.names:
        if name in joined:
            joined[name] = np.concatenate([inputs[name] for inputs in requests])
    stops = np.cumsum([axis.items(inputs) for inputs in requests]).tolist()
    answers = [_cut(output, stops[-1], stops[-1]) for output in run(joined)]
    return [
        [_part(output, start, stop) for output in answers]
        for start, stop in zip([0, *stops], stops, strict=False)
    ]


def _alike(inputs: Mapping[str, Any], first: Mapping[str, Any], axis: BatchAxis) -> bool:
    """Whether two requests differ in nothing but their items."""
    items = axis.items(inputs)
    if inputs.keys() != first.keys() or items < 1:
        return False
    for name, value in inputs.items():
        if name not in axis.names:
            if value is not first[name] and not equal_answers(value, first[name]):
                return False
        elif (
            not isinstance(value, np.ndarray)
            or _item_of(value) != _item_of(first[name])
            or value.shape[:1] != (items,)
        ):
            return False
    return True


def _item_of(value: Any) -> Any:
    """Type and shape of an item; None where there are none."""
    return (value.dtype, value.shape[1:]) if isinstance(value, np.ndarray) and value.ndim else None


def _part(output: Any, start: int, stop: int) -> Any:
    """The answers of one request: a copy, which is its caller's, and does not hold the others' in memory."""
    return output[start:stop].copy() if isinstance(output, np.ndarray) else output[start:stop]


def why_not_split(
    run: Run, make: Callable[[int], Feeds], axis: BatchAxis, size: int, counts: Sequence[int] = ()
) -> str:
    """Compare whole answers with split ones.

    Parameters
    ----------
    run : callable
        Runs the model as it is.
    make : callable
        Inputs of so many items.
    axis : BatchAxis
        Where they would be cut.
    size : int
        Most items of one run.
    counts : sequence of int
        Numbers of items to try; by default all that one run may have (of more than 16, 16 of them), and some
        that take up to four.

    Returns
    -------
    str
        Why requests must not be split; empty if every answer was equal bit for bit.
    """
    try:
        if axis.fixed:
            return _why_not_filled(run, _varied(make(axis.fixed), axis), axis)
        for items in counts or _counts(size):
            inputs = _varied(make(items), axis)
            whole = run(inputs)
            if _says_nothing(whole):
                return "cannot tell: all items of the sample have the same answer, or none that is a number"
            for at_once in sorted({1, size}):
                if at_once < items and not equal_answers(run_split(run, inputs, axis, at_once), whole):
                    return f"{items} items run {at_once} at a time do not give what one run gives"
    except (SessionError, ValueError, MemoryError) as error:
        return f"a split run failed: {' '.join(str(error).split())}"
    return ""


def _counts(size: int) -> list[int]:
    """Numbers of items to try where one run has at most `size`: a kernel may differ for any of them."""
    within = {max(2, round(place * size / 16)) for place in range(1, 17)}
    return sorted({*within, size + 1, 2 * size, 3 * size + 1})


def _varied(inputs: Feeds, axis: BatchAxis) -> Feeds:
    """The same inputs with items that differ: numbers by their size, the rest by what stands where."""
    varied = dict(inputs)
    for name in axis.names:
        array = np.asarray(inputs[name])
        rows = [
            row * np.asarray(_SIZES[place % len(_SIZES)], array.dtype)
            if array.dtype.kind == "f"
            else np.roll(row, place)
            for place, row in enumerate(array)
        ]
        varied[name] = np.stack(rows) if rows else array
    return varied


def _says_nothing(answers: list[Any]) -> bool:
    """Whether no answer tells one item from another."""
    return not any(_tells_items_apart(answer) for answer in answers)


def _tells_items_apart(answer: Any) -> bool:
    if isinstance(answer, np.ndarray):
        answer = list(answer) if answer.ndim else []
    if not isinstance(answer, list):
        return False
    return any(not equal_answers(answer[0], item) for item in answer[1:])


def _why_not_filled(run: Run, inputs: Feeds, axis: BatchAxis) -> str:
    """Whether each item's answer is its own, where the file fixes the batch."""
    assert axis.fixed is not None
    whole = run(inputs)
    for count in {1, max(1, axis.fixed - 1)}:
        part = dict(inputs)
        for name in axis.names:
            part[name] = np.asarray(inputs[name])[:count]
        expected = [_cut(output, axis.fixed, count) for output in whole]
        if not equal_answers(run_split(run, part, axis, axis.fixed), expected):
            return f"{count} of {axis.fixed} items, filled up, do not give what they give among others"
    turned = dict(inputs)
    for name in axis.names:
        turned[name] = np.asarray(inputs[name])[::-1]
    if not equal_answers(run(turned), [_cut(output, axis.fixed, axis.fixed)[::-1] for output in whole]):
        return "items in another order do not give the same answers in that order"
    return ""


def _filled(array: np.ndarray, size: int) -> np.ndarray:
    if len(array) == size:
        return array
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])


def _cut(output: Any, size: int, count: int) -> Any:
    """The answers of the first `count` of `size` items."""
    if not (isinstance(output, list) or (isinstance(output, np.ndarray) and output.ndim)):
        raise SessionError(f"an answer of type {type(output).__name__} has no items")
    if len(output) != size:
        raise SessionError(f"{len(output)} answers for {size} items")
    return output[:count]


def _joined(parts: Sequence[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts) if len(parts) > 1 else parts[0]
    return [item for part in parts for item in part]
