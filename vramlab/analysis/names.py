"""Names as a figure shows them: what all of them share is cut, and no two come out alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

# Where a name may be cut: after one of these, so that no word is.
_JOINTS = "-_/.:| "
_SUFFIX = ".onnx"
_LEAST = 4  # a shared beginning of fewer letters saves no room


def display_names(names: Sequence[str], most: int | None = None) -> list[str]:
    """Cut the beginning that all `names` share, the suffix ``.onnx``, and the middle of what is longer.

    Parameters
    ----------
    names : sequence of str
        Names of models, all different.
    most : int, optional
        Characters that a name may have. One that is longer keeps its beginning and its end, where names of
        models differ.

    Returns
    -------
    list of str
        In the same order, all different.

    Examples
    --------
    >>> display_names(["acme-prod-llm-small-v1", "acme-prod-llm-large-v1"])
    ['small-v1', 'large-v1']
    """
    shared = len(shared_beginning(names))
    short = [name[shared:].removesuffix(_SUFFIX) or name for name in names]
    if most is not None:
        short = [_cut(name, most) for name in short]
    # `a` and `a.onnx` may both be there, and two long names may differ in the middle only
    return [cut if short.count(cut) == 1 else name for cut, name in zip(short, names, strict=True)]


def shared_beginning(names: Sequence[str]) -> str:
    """Find what all names begin with, up to the end of a word; nothing for a single name.

    A version or number at the end of that beginning stays with the names: ``model-1`` and ``model-12``.
    """
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)  # what these two begin with, all between them do
    alike = (place for place, (a, b) in enumerate(zip(first, last, strict=False)) if a != b)
    shared = first[: next(alike, min(len(first), len(last)))]
    cut = re.match(rf".*[{re.escape(_JOINTS)}]", shared)
    found = cut[0] if cut else ""
    return found if len(found) >= _LEAST else ""


def _cut(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    end = (most - 1) // 2
    return f"{name[: most - 1 - end]}…{name[-end:]}"
