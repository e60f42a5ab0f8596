"""True inputs of the models in ``catalogue.py``: type, shape and range as the packages' own code makes them.

Sounds, pictures and texts are made up: every function draws them from the generator that it is given.
"""

from typing import Any

import numpy as np
from numpy.random import Generator

Inputs = dict[str, Any]


def sound(rng: Generator, *shape: int) -> np.ndarray:
    """A tone of 220 Hz at 16 kHz in noise, within -1 to 1; time is the last axis."""
    tone = 0.4 * np.sin(2 * np.pi * 220 / 16_000 * np.arange(shape[-1]))
    return (tone + rng.uniform(-0.1, 0.1, shape)).astype(np.float32)


def uniform(rng: Generator, low: float, high: float, *shape: int) -> np.ndarray:
    return rng.uniform(low, high, shape).astype(np.float32)


def ids(rng: Generator, low: int, high: int, *shape: int, dtype: type[np.generic] = np.int64) -> np.ndarray:
    """Whole numbers from low to high, high included."""
    return rng.integers(low, high, shape, endpoint=True).astype(dtype)


def _zeros(*shape: int) -> np.ndarray:
    return np.zeros(shape, np.float32)


RATE = np.array(16_000, np.int64)


def silero(rng: Generator, **more: Any) -> Inputs:
    """One window: 64 samples of the last one, then 512 new ones."""
    return {"input": sound(rng, 1, 576), "state": _zeros(2, 1, 128), **more}


def silero_sequence(rng: Generator) -> Inputs:
    return {"input": sound(rng, 3, 576), "h": _zeros(1, 1, 128), "c": _zeros(1, 1, 128)}


def silero_v4(rng: Generator) -> Inputs:
    return {"input": sound(rng, 1, 480), "sr": RATE, "h": _zeros(2, 1, 64), "c": _zeros(2, 1, 64)}


def swift_f0(rng: Generator) -> Inputs:
    fmin, fmax = np.array(46.875, np.float32), np.array(2093.75, np.float32)
    return {"audio": sound(rng, 1, 8_000), "fmin": fmin, "fmax": fmax}


def echo(rng: Generator) -> Inputs:
    """Far end, microphone and enhanced sound, as mel frames of ten seconds."""
    return {"input": uniform(rng, -1, 1, 1, 3, 313, 160), "h0": _zeros(4, 1, 64)}


def lost_packets(rng: Generator) -> Inputs:
    rater = rng.standard_normal((1, 64), np.float32)
    return {"degraded_audio": uniform(rng, -1, 0.2, 1, 1, 300, 257), "rater_embed": rater}


def voice_filter(rng: Generator) -> Inputs:
    voice = rng.standard_normal((1, 256), np.float32)
    return {
        "stacked_logmel": uniform(rng, -13, 2, 1, 1, 512),
        "dvec": voice / np.linalg.norm(voice),
        "h0": _zeros(3, 1, 512),
        "c0": _zeros(3, 1, 512),
    }


def sentences(rng: Generator) -> Inputs:
    """Two sentences of 12 and 9 tokens, between a start and an end mark, the second filled up."""
    tokens, mask = ids(rng, 1_000, 29_000, 2, 12), np.ones((2, 12), np.int64)
    tokens[:, 0], tokens[0, 11], tokens[1, 8] = 101, 102, 102
    tokens[1, 9:] = mask[1, 9:] = 0
    return {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}


def arabic_vowels(rng: Generator) -> Inputs:
    hints, length = np.ones((1, 24), np.int64), np.array([24], np.int64)
    return {"char_inputs": ids(rng, 18, 53, 1, 24), "diac_inputs": hints, "input_lengths": length}


def arabic_name(rng: Generator) -> Inputs:
    name = np.concatenate([[[4, 29]], ids(rng, 100, 159, 1, 7), [[2]]], axis=1)
    return {"src": name, "src_mask": np.zeros(name.shape, bool)}


def latin_name(rng: Generator) -> Inputs:
    """The second step of a search two beams wide, over an encoded name of ten signs."""
    return {
        "prefix": np.concatenate([np.ones((2, 1), np.int64), ids(rng, 33, 80, 2, 1)], axis=1),
        "memory": uniform(rng, -1, 1, 2, 10, 256),
        "src_mask": np.zeros((2, 10), bool),
        "hidden": uniform(rng, -1, 1, 2, 2, 256),
    }


def words(rng: Generator) -> Inputs:
    """Four words of six letters, each letter one of 59."""
    return {"lstm_input": np.eye(59, dtype=np.float32)[ids(rng, 0, 58, 4, 6)]}


_PHONEMES = np.array(["", "man:d", "man:u", "man:g", "man:w", "man:ag", "man:ngq", ""], dtype=object)


def spelling(_: Generator) -> Inputs:
    """Two syllables, a letter a cell, filled up with empty text to eight."""
    letters = [[*syllable, *[""] * (8 - len(syllable))] for syllable in ("du", "guang")]
    return {"letters": np.array(letters, dtype=object)}


def rhythm(rng: Generator) -> Inputs:
    """Two sung syllables between two rests."""
    counts = np.array([1, 2, 4, 1], np.int64)
    return {"phs": _PHONEMES, "chPhCounts": counts, "noteDursSec": uniform(rng, 0.3, 0.6, 4)}


def melody(rng: Generator) -> Inputs:
    """The same, sung: frames of 10 ms, pitches as MIDI has them, the second syllable on two notes."""
    pitches = np.concatenate([[0], rng.integers(55, 70, 3), [0]]).astype(np.float32)
    return {
        "phs": _PHONEMES,
        "phDurs": np.array([39, 11, 16, 8, 11, 18, 22, 50], np.int64),
        "notePitches": pitches,
        "noteDurs": np.array([50, 25, 25, 25, 50], np.int64),
        "noteToCharIndex": np.array([0, 1, 2, 2, 3], np.int64),
    }
