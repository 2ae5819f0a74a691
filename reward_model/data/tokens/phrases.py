"""What a mean over tokens cannot tell of a response: how much of it was said in it before, and how
many of its neighbours never stood together in the training texts.

`repeated(joined(ids))` is the share of token 4-grams that occurred before in the same response (one
minus distinct-n of Li et al., arXiv 1510.03055); `seen_pairs(joined(ids))` keeps the pairs of some
responses, `unseen(joined(others), seen)` counts those of others that are not among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reward_model.stats.bootstrap import Floats, Ints

N = 4
"""Tokens of a run: three recur in any prose, eight are more than a short answer has."""
Bits: TypeAlias = NDArray[np.uint8]
_MIX = np.array([0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D, 0x27D4EB2F], np.uint32)
"""Odd numbers, by which a run becomes one of 32 bits: in one text of 10,000, of 900 tokens each,
two runs are taken for one by chance, and its share is off by one run."""
_ROOM = 16
"""Bits a pair: one in sixteen is taken for another that was seen."""
_FEWEST, _MOST = 13, 24
"""Binary logarithm of how many bits there are."""


class Joined(NamedTuple):
    """Responses one after the other."""

    ids: NDArray[np.uint32]
    """[T] token ids."""
    starts: Ints
    """[B] where each begins."""
    lengths: Ints
    """[B]"""


def joined(responses: Sequence[Sequence[int]]) -> Joined:
    """Token ids of responses, without what stands around them."""
    lengths = np.fromiter(map(len, responses), np.int64, len(responses))
    ids = np.fromiter(chain.from_iterable(responses), np.uint32, int(lengths.sum()))
    return Joined(ids, np.cumsum(lengths) - lengths, lengths)


def repeated(responses: Joined) -> Floats:
    """[B], in [0, 1): share of the runs of `N` tokens that occurred earlier in the same response.

    It is 0 for a response of fewer than `N` tokens.

    >>> repeated(joined([[1, 2, 3, 4], [1, 2, 3, 4, 1, 2, 3, 4], [7] * 13])).tolist()
    [0.0, 0.2, 0.9]
    """
    found = np.zeros(len(responses.lengths))
    runs = _hashed(responses.ids, N)
    whole = responses.lengths >= N
    starts = responses.starts[whole]
    ends = starts + responses.lengths[whole] - (N - 1)
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        runs[start:end].sort()
    before = _before(runs[1:] == runs[:-1])
    found[whole] = (before[ends - 1] - before[starts]) / (ends - starts)
    return found


def seen_pairs(responses: Joined) -> Bits:
    """A bit for each pair of neighbouring tokens, by its hash."""
    inside = np.ones(max(0, len(responses.ids) - 1), bool)
    inside[responses.starts[(responses.starts > 0) & (responses.starts <= len(inside))] - 1] = False
    pairs = np.unique(_hashed(responses.ids, 2)[inside])
    size = min(max(int(np.log2(_ROOM * max(1, len(pairs)))) + 1, _FEWEST), _MOST)
    bits = np.zeros(1 << size, np.uint8)
    bits[pairs >> np.uint32(32 - size)] = 1
    return np.packbits(bits, bitorder="little")


def unseen(responses: Joined, seen: Bits) -> tuple[Ints, Ints]:
    """Pairs of neighbouring tokens in each response that are not among `seen`, and all: [B] each.

    >>> seen = seen_pairs(joined([[1, 2, 3], [5, 6]]))
    >>> [counts.tolist() for counts in unseen(joined([[2, 3, 5, 6], [2, 1], [9]]), seen)]
    [[1, 1, 0], [3, 1, 0]]
    """
    places = _hashed(responses.ids, 2) >> np.uint32(32 - (8 * len(seen) - 1).bit_length())
    new = (seen[places >> np.uint32(3)] >> (places & np.uint32(7)).astype(np.uint8)) & 1 == 0
    before = _before(new)
    count = np.maximum(responses.lengths - 1, 0)
    starts = np.minimum(responses.starts, len(before) - 1)
    return before[starts + count] - before[starts], count


def _hashed(ids: NDArray[np.uint32], size: int) -> NDArray[np.uint32]:
    """[T - size + 1]: each run of so many tokens as a number."""
    last = max(0, len(ids) - size + 1)
    runs = ids[:last] * _MIX[0]
    for i in range(1, size):
        runs += ids[i : last + i] * _MIX[i]
    return np.asarray(runs)


def _before(there: NDArray[np.bool_]) -> Ints:
    """[T] -> [T + 1]: how many stand before each place."""
    count = np.zeros(len(there) + 1, np.int64)
    np.cumsum(there, out=count[1:])
    return count
