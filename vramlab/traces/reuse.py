"""Reuse distances: how many other models were asked for since a model was last asked for."""

from __future__ import annotations

import numpy as np


def reuse_distances(codes: np.ndarray) -> np.ndarray:
    """Number of different other models between a request and the last one for its model; -1 for the first.

    A plain LRU that holds k models of one size serves a request from memory where the distance is 0 to k - 1
    (Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage hierarchies", IBM Systems Journal
    9, 1970).

    Parameters
    ----------
    codes : ndarray of int, shape (requests,)
        Model of each request, in order.

    Returns
    -------
    ndarray of int64, shape (requests,)
    """
    last = _last_requests(codes)
    # of the requests between, those whose own last request is also between ask for nothing new
    between = np.arange(len(codes)) - last - 1
    return np.where(last >= 0, between - _greater_before(last), -1)


def hit_rates_by_models(codes: np.ndarray, most: int) -> np.ndarray:
    """Hit rate of a plain LRU that holds 1, 2, ... `most` models of one size, shape (most,)."""
    distances = reuse_distances(codes)
    hits = np.bincount(distances[(distances >= 0) & (distances < most)], minlength=most)
    return np.cumsum(hits) / max(len(codes), 1)


def _last_requests(codes: np.ndarray) -> np.ndarray:
    """Position of the last request for the same model before each; -1 where there is none."""
    order = np.argsort(codes, kind="stable")
    last = np.full(len(codes), -1, dtype=np.int64)
    same = codes[order[1:]] == codes[order[:-1]]
    last[order[1:][same]] = order[:-1][same]
    return last


def _greater_before(values: np.ndarray) -> np.ndarray:
    """For each value the number of greater ones before it, by merging sorted blocks of doubling length."""
    count = len(values)
    size = 1 << max(count - 1, 0).bit_length()
    ordered = np.full(size, -1, dtype=np.int64)
    ordered[:count] = values
    places = np.arange(size)  # where each of `ordered` came from
    greater = np.zeros(size, dtype=np.int64)
    width = 1
    while width < size:
        pairs = np.arange(size // (2 * width))[:, None]
        blocks, homes = ordered.reshape(-1, 2, width), places.reshape(-1, 2, width)
        # a step per pair makes one ascending sequence of all left blocks, searched at once
        step = pairs * (count + 2)
        at = np.searchsorted((blocks[:, 0] + step).ravel(), (blocks[:, 1] + step).ravel(), side="right")
        greater[homes[:, 1].ravel()] += (np.repeat(pairs.ravel() + 1, width) * width) - at
        width *= 2
        merged = np.argsort(ordered.reshape(-1, width), axis=1, kind="stable")
        ordered = np.take_along_axis(ordered.reshape(-1, width), merged, axis=1).ravel()
        places = np.take_along_axis(places.reshape(-1, width), merged, axis=1).ravel()
    return greater[:count]
