"""Columns of texts in a trace's frame: categories, of which each is kept once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

TEXT_COLUMNS = ("model", "requester", "input_key", "priority")


class Texts(NamedTuple):
    """A column of texts: int32 `codes` per request (-1 where missing), `names` in order of appearance."""

    codes: np.ndarray
    names: list[str]

    def each(self) -> np.ndarray:
        """Return the text per request, None where missing."""
        texts: np.ndarray = np.array([*self.names, None], dtype=object)[self.codes]
        return texts


def categories(codes: np.ndarray, names: Sequence[str]) -> pd.Categorical:
    """Return a column of a trace's frame: different texts by codes, -1 where missing."""
    return pd.Categorical.from_codes(codes, pd.Index(list(names), dtype=object))


def with_seen_categories(frame: pd.DataFrame) -> pd.DataFrame:
    """Return a frame whose categories are those that its rows have: a count lists no others."""
    texts = [c for c in TEXT_COLUMNS if c in frame and isinstance(frame[c].dtype, pd.CategoricalDtype)]
    less = [column for column in texts if not _all_seen(frame[column])]
    return frame.assign(**{column: frame[column].cat.remove_unused_categories() for column in less})


def _all_seen(texts: pd.Series) -> bool:
    """Whether the rows have all categories; pandas sorts them for that, 0.6 s for six million."""
    seen = np.zeros(len(texts.cat.categories) + 1, dtype=bool)  # the last one is for -1
    seen[texts.cat.codes] = True
    return bool(seen[:-1].all())


def coded(texts: pd.Series) -> Texts:
    """Return a column of categories as read-only codes, with its names in order of appearance."""
    found, names = pd.factorize(texts)
    codes = found.astype(np.int32)
    codes.flags.writeable = False
    return Texts(codes, list(names))
