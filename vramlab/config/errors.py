"""The one error for bad input: a line that names source, key, what was found and what was expected."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class InputError(ValueError):
    """Something that the user gave us cannot be used.

    Parameters
    ----------
    source : str
        The file, option or argument the input came from.
    key : str
        Dotted key, row or column within the source; empty when the source as a whole is at fault.
    found : object
        What stands there.
    expected : str
        What should stand there.
    """

    def __init__(self, source: object, key: object, found: object, expected: str) -> None:
        self.source, self.key, self.found, self.expected = str(source), str(key), found, expected
        where = f"{self.source}: {shortened(self.key)}" if self.key else self.source
        # what stands there may be the whole file
        super().__init__(f"{where}: found {shortened(str(found))}, expected {shortened(expected, 600)}")


def shortened(text: str, most: int = 300) -> str:
    """Cut a text in the middle if it is longer than `most` signs, so that its end can be seen too."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def check_choice(source: object, key: object, value: object, known: Sequence[str]) -> None:
    """Refuse what is none of `known`, with the nearest of them; types alone stop nobody in a notebook."""
    if value not in known:
        expected = f"one of {', '.join(known)}{nearest(str(value), known)}"
        raise InputError(source, key, repr(value), expected)


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the known word closest to `word`, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
