"""How like the training texts a text is: by what the heads read of it, and by what it repeats.

The probabilities of a softmax do not tell: far from all training texts it is as sure as ever. The
distance of the vector does (Mahalanobis, with a shrunk covariance: Lee et al., arXiv 1807.03888;
Ledoit and Wolf, 2004), save for what a mean over tokens hardly shows: a text that says the same
again and again, words in an order that nobody writes. So two shares of a response's tokens stand
beside it: runs that it has said before, and pairs that no training text has. `fit(train,
validation, ...)` keeps all three of the validation texts, `.of(vectors, said)` gives the share of
these that are at least as strange; `save` and `load` keep it in a model folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from reward_model.data.tokens.phrases import Bits, Joined, joined, repeated, seen_pairs, unseen
from reward_model.model.forward import Vectors
from reward_model.records import UserError
from reward_model.records.errors import first_line
from reward_model.records.files import writing
from reward_model.stats.bootstrap import Floats

FILE = "familiarity.safetensors"
_SAME = 1e-3
"""Distances that differ by less, relatively, are one: other batches and devices round otherwise."""
STILL = 1e-4
"""Of the median spread of a vector's numbers: what moves less moves by rounding."""
_LEAST = 0.1
"""Share of runs or pairs that counts as a step where the validation texts differ by less: a table
or a stock phrase more makes no honest report strange."""
_USUAL = 20
"""Usual pairs that every text is given beside its own: of a few, one more or less says nothing."""


class Phrases(NamedTuple):
    """What the tokens of the training and validation texts are known by."""

    seen: Bits
    """Pairs of neighbouring tokens of the training texts."""
    usual: float
    """Share of pairs that are not among them, over all validation texts."""
    said: Vectors
    """[n, 2] of the validation texts, in the order of their distances: `Familiarity.read`."""


@dataclass(frozen=True)
class Familiarity:
    """Where the training texts lie, and how far from there the validation texts are."""

    middle: Vectors
    """[H] mean of the training texts."""
    whiten: Vectors
    """[H, H]: vectors minus `middle`, times it, are at their Mahalanobis distance from 0."""
    tail: Vectors
    """[n] distances of the validation texts, sorted."""
    phrases: Phrases | None = None
    """None in models from before: only the distance is known."""

    def read(self, responses: Sequence[Sequence[int]]) -> Floats:
        """B responses as token ids -> [B, 2]: shares of runs said before, and of pairs unseen."""
        if self.phrases is None:
            return np.zeros((len(responses), 2))
        return _read(joined(responses), self.phrases.seen, self.phrases.usual)

    def distances(self, vectors: Vectors) -> Floats:
        """[B, H] -> [B], in standard deviations of the training texts, over all directions."""
        apart = (vectors - self.middle) @ self.whiten
        return np.asarray(np.sqrt(np.einsum("bh,bh->b", apart, apart, dtype=np.float64)))

    def of(self, vectors: Vectors, said: Floats) -> Floats:
        """[B, H] and [B, 2] of `read` -> [B], in (0, 1]: (k + 1) / (n + 1), where k of n validation
        texts are at least as strange; so of texts like these at most a share `a` has a familiarity
        of `a` or less.

        How strange a text is says the sum of the three as far as they are above the middle one of
        the validation texts, in steps from there to that which a tenth of them is above.
        """
        far = self.distances(vectors) * (1 - _SAME)
        known: Floats | Vectors = self.tail
        if self.phrases is not None:
            known, steps = self._known
            far = _strangeness(far, said * (1 - _SAME), steps)
        further = len(known) - np.searchsorted(known, far, side="left")
        return np.asarray((further + 1) / (len(known) + 1))

    @cached_property
    def _known(self) -> tuple[Floats, Floats]:
        """[n] strangeness of validation texts, sorted; [2, 3] where steps start, and their size."""
        assert self.phrases is not None
        said = self.phrases.said
        middle, high = np.quantile(np.column_stack([self.tail, said]), (0.5, 0.9), axis=0)
        steps = np.stack([middle, np.maximum(high - middle, (_SAME, _LEAST, _LEAST))])
        return np.sort(_strangeness(self.tail, said, steps)), steps

    @property
    def least(self) -> float:
        """The smallest familiarity that can be told on so many validation texts."""
        return 1 / (len(self.tail) + 1)

    def save(self, folder: Path) -> None:
        """Put it into a model folder."""
        tensors: dict[str, Any] = {"middle": self.middle, "whiten": self.whiten, "tail": self.tail}
        if self.phrases is not None:
            seen, usual, said = self.phrases
            tensors |= {"seen": seen, "usual": np.array([usual]), "said": said}
        with writing(folder / FILE) as file:  # save_file would keep it from other users
            file.write(save(tensors))


def _strangeness(far: Floats | Vectors, said: Floats | Vectors, steps: Floats) -> Floats:
    """[B] and [B, 2] -> [B]"""
    middle, size = steps
    above = (np.column_stack([far, said]) - middle) / size
    return np.asarray(np.maximum(above, 0).sum(axis=1))  # NaN stays, as the strangest


def _read(responses: Joined, seen: Bits, usual: float) -> Floats:
    new, pairs = unseen(responses, seen)
    return np.column_stack([repeated(responses), (new + _USUAL * usual) / (pairs + _USUAL)])


def fit(
    train: Vectors,
    validation: Vectors,
    trained_on: Sequence[Sequence[int]],
    validated_on: Sequence[Sequence[int]],
) -> Familiarity:
    """Middle and covariance of the training texts, distances and phrases of the validation texts.

    Args:
        train: [m, H], at least two.
        validation: [n, H], of other groups, at least one.
        trained_on: token ids of the responses of the training texts.
        validated_on: those of the validation texts.
    """
    from sklearn.covariance import LedoitWolf

    x = np.asarray(train, np.float64)
    spread = x.std(0)
    # Shrunk towards a ball: directions are first brought to one scale.
    still = max(1e-9, STILL * float(np.median(spread)))
    spread[spread < still] = max(1e-9, float(spread.max()))
    shrunk = LedoitWolf().fit(x / spread)
    values, directions = np.linalg.eigh(shrunk.covariance_)
    whiten = directions / np.sqrt(np.maximum(values, 1e-12)) / spread[:, None]
    found = Familiarity(
        x.mean(0).astype(np.float32), whiten.astype(np.float32), np.zeros(0, np.float32)
    )
    tail = found.distances(validation)
    order = np.argsort(tail)
    seen, read = seen_pairs(joined(trained_on)), joined([validated_on[i] for i in order])
    new, pairs = unseen(read, seen)
    usual = float(new.sum() / max(1, pairs.sum()))
    phrases = Phrases(seen, usual, _read(read, seen, usual).astype(np.float32))
    return replace(found, tail=tail[order].astype(np.float32), phrases=phrases)


def load(folder: Path, width: int) -> Familiarity | None:
    """What a model folder holds; None where it holds none, as those written before it.

    Args:
        folder: of a trained model.
        width: H of the model.

    Raises:
        UserError: it is broken, or of another model.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        found = load_file(path)
        phrases = None
        if "said" in found:
            phrases = Phrases(found["seen"], float(found["usual"][0]), found["said"])
        known = Familiarity(found["middle"], found["whiten"], found["tail"], phrases)
        fits = known.middle.shape == (width,) and known.whiten.shape == (width, width)
    except (OSError, SafetensorError, KeyError) as error:
        raise UserError(
            f"a file that cannot be read ({first_line(error)})",
            expected="what reward-model train wrote",
            mend="remove it to score without familiarity",
            path=path,
        ) from None
    if not fits or known.tail.ndim != 1:
        raise UserError(
            f"vectors of {known.middle.shape[0]} numbers, and a model of {width}",
            expected="the file that was written with this model",
            mend="remove it to score without familiarity",
            path=path,
        )
    if phrases is not None and not _fits(phrases, len(known.tail)):
        raise UserError(
            f"phrases of {len(phrases.said)} texts, and distances of {len(known.tail)}",
            expected="both of the texts that the model was validated on",
            mend="remove it to score without familiarity",
            path=path,
        )
    return known


def _fits(phrases: Phrases, texts: int) -> bool:
    size = phrases.seen.size
    whole = phrases.seen.dtype == np.uint8 and size > 0 and size & (size - 1) == 0
    return whole and phrases.said.shape == (texts, 2)
