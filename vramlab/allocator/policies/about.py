"""What each eviction policy does, in a line, and who thought of it.

A policy that has no row here says it in its docstring: the first line, and the sentence after ``Source:``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from vramlab.config.docstrings import docstring


class About(NamedTuple):
    """One line, and its source."""

    line: str
    source: str


_GDSF = 'L. Cherkasova, "Improving WWW proxies performance with Greedy-Dual-Size-Frequency", HP Labs, 1998'

ABOUT: dict[str, About] = {
    "seed": About(
        "The lowest of priority x uses / age x 1000/size x 100/load time leaves first, so what is dear to "
        "load leaves early.",
        "the specification's score as written",
    ),
    "seed_fixed": About(
        "The same, with the sign of the load time mended: what is dear to load stays.",
        "the specification's score as its comment means it",
    ),
    "decayed": About(
        "The same, with a count of uses that halves each `half_life_s`, and less weight on the last use.",
        'counts as in D. Lee et al., "LRFU", IEEE Transactions on Computers 50(12), 2001',
    ),
    "lru": About(
        "Who was used least recently leaves first.",
        'R. L. Mattson et al., "Evaluation techniques for storage hierarchies", IBM Systems Journal, 1970',
    ),
    "lfu": About("Who was used least often since it was loaded leaves first.", "textbook"),
    "fifo": About("Who was loaded first leaves first.", "textbook"),
    "gdsf": About("Uses x load time / size, on top of the value of the last one evicted.", _GDSF),
    "gdsf_hits": About("The same with every load of one cost: hits count, not seconds.", _GDSF),
    "lfu_da": About(
        "Uses, on top of the value of the last one evicted, so that old fame ages.",
        'M. Arlitt et al., "Evaluating content management techniques for web proxy caches", 2000',
    ),
    "lru_k": About(
        "The model whose `k`-th last use is longest ago leaves first.",
        'E. J. O\'Neil et al., "The LRU-K page replacement algorithm", SIGMOD 1993',
    ),
    "hyperbolic": About(
        "Uses per time since it was loaded, x load time / size.",
        'A. Blankstein et al., "Hyperbolic caching", USENIX ATC 2017',
    ),
    "sieve": About(
        "A hand moves from old to new and spares once who was used since it last came by.",
        'Y. Zhang et al., "SIEVE is simpler than LRU", NSDI 2024',
    ),
    "s3_fifo": About(
        "Newcomers are on probation in a small queue; who was used there moves to the main one.",
        'J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023',
    ),
    "lhd": About(
        "Hits to be expected per byte and time of residence, learned from the ages at which models are used.",
        'N. Beckmann et al., "LHD: improving cache hit rate by maximizing hit density", NSDI 2018',
    ),
    "random": About("Anybody leaves, drawn by `seed`: what no policy should do worse than.", "textbook"),
}


def about_policy(name: str, factory: Callable[..., object]) -> About:
    """What a policy of ours does and who thought of it: its row, or what its docstring says."""
    if name in ABOUT:
        return ABOUT[name]
    text = docstring(factory)
    source = re.search(r"^Source: (.+?)(?:\.$|\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    line = text.partition("\n")[0].replace("``", "`")
    return About(line, "vramlab" if source is None else " ".join(source[1].split()))
