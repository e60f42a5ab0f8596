"""Reuse distances: how many other models were asked for since a model was last asked for."""

from __future__ import annotations

import numpy as np


def reuse_distances(codes: np.ndarray) -> np.ndarray:
    """Count the different other models between a request and the last one for its model; -1 if none.

    A plain LRU that holds k models of one size hits where the distance is 0 to k - 1. Source:
    Mattson, Gecsei, Slutz and Traiger, "Evaluation techniques for storage hierarchies", IBM Systems Journal
    9 (1970).

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
    return np.where(last >= 0, between - _greater_before(last, np.ones(len(codes), dtype=np.int64)), -1)


def reuse_bytes(codes: np.ndarray, sizes_bytes: np.ndarray) -> np.ndarray:
    """Sum the bytes of all models from the last request for a model to this one, it included; -1 if none.

    A plain LRU of so many bytes hits, and a smaller one misses, if no model is larger than the memory: what
    it holds is then always the longest beginning of the models in order of their last use that fits. (A hit
    moves one model of that beginning to the front. On a miss models leave from its end until the new one
    fits; the next one would not have fitted beside it.)

    Parameters
    ----------
    codes : ndarray of int, shape (requests,)
        Model of each request, in order.
    sizes_bytes : ndarray of int, shape (models,)

    Returns
    -------
    ndarray of int64, shape (requests,)
    """
    last = _last_requests(codes)
    sizes = np.asarray(sizes_bytes, dtype=np.int64)[codes]
    up_to = np.cumsum(sizes)  # from the last request on, that one left out and this one included
    return np.where(last >= 0, up_to - up_to[last] - _greater_before(last, sizes), -1)


def hit_rates_by_models(codes: np.ndarray, most: int) -> np.ndarray:
    """Return the hit rate of a plain LRU that holds 1, 2, ... `most` models of one size, shape (most,)."""
    distances = reuse_distances(codes)
    hits = np.bincount(distances[(distances >= 0) & (distances < most)], minlength=most)
    return np.cumsum(hits) / max(len(codes), 1)


def _last_requests(codes: np.ndarray) -> np.ndarray:
    """Return the position of the last request for the same model before each; -1 where there is none."""
    order = np.argsort(codes, kind="stable")
    last = np.full(len(codes), -1, dtype=np.int64)
    same = codes[order[1:]] == codes[order[:-1]]
    last[order[1:][same]] = order[:-1][same]
    return last


def _greater_before(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the weight of the greater values before each, by merging sorted blocks of doubling length."""
    count = len(values)
    size = 1 << max(count - 1, 0).bit_length()
    ordered = np.full(size, -1, dtype=np.int64)
    ordered[:count] = values
    weight = np.zeros(size, dtype=np.int64)
    weight[:count] = weights
    places = np.arange(size)  # where each of `ordered` came from
    greater = np.zeros(size, dtype=np.int64)
    width = 1
    while width < size:
        pairs = np.arange(size // (2 * width))[:, None]
        blocks, homes = ordered.reshape(-1, 2, width), places.reshape(-1, 2, width)
        # a step per pair makes one ascending sequence of all left blocks, searched at once
        step = pairs * (count + 2)
        at = np.searchsorted((blocks[:, 0] + step).ravel(), (blocks[:, 1] + step).ravel(), side="right")
        up_to = np.concatenate([[0], np.cumsum(weight[homes[:, 0].ravel()])])
        greater[homes[:, 1].ravel()] += up_to[np.repeat(pairs.ravel() + 1, width) * width] - up_to[at]
        width *= 2
        merged = np.argsort(ordered.reshape(-1, width), axis=1, kind="stable")
        ordered = np.take_along_axis(ordered.reshape(-1, width), merged, axis=1).ravel()
        places = np.take_along_axis(places.reshape(-1, width), merged, axis=1).ravel()
    return greater[:count]
