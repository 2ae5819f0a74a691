"""How like the training texts a text is, by the vector that the heads read of it.

The probabilities of a softmax do not tell: far from all training texts it is as sure as ever. The
distance of the vector does (Mahalanobis, with a shrunk covariance: Lee et al., arXiv 1807.03888;
Ledoit and Wolf, 2004). `fit(train, validation)` measures it, `.of(vectors)` gives the share of the
validation texts that are at least as far; `save` and `load` keep it in a model folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from reward_model.model.forward import Vectors
from reward_model.records import UserError
from reward_model.records.errors import first_line
from reward_model.records.files import writing
from reward_model.stats.bootstrap import Floats

FILE = "familiarity.safetensors"
_SAME = 1e-3
"""Distances that differ by less, relatively, are one: other batches and devices round otherwise."""


@dataclass(frozen=True)
class Familiarity:
    """Where the training texts lie, and how far from there the validation texts are."""

    middle: Vectors
    """[H] mean of the training texts."""
    whiten: Vectors
    """[H, H]: vectors minus `middle`, times it, are at their Mahalanobis distance from 0."""
    tail: Vectors
    """[n] distances of the validation texts, sorted."""

    def distances(self, vectors: Vectors) -> Floats:
        """[B, H] -> [B], in standard deviations of the training texts, over all directions."""
        apart = (vectors - self.middle) @ self.whiten
        return np.asarray(np.sqrt(np.einsum("bh,bh->b", apart, apart, dtype=np.float64)))

    def of(self, vectors: Vectors) -> Floats:
        """[B, H] -> [B], in (0, 1]: (k + 1) / (n + 1), where k of n validation texts are at least
        as far; so of texts like these at most a share `a` has a familiarity of `a` or less.
        """
        near = self.distances(vectors) * (1 - _SAME)
        further = len(self.tail) - np.searchsorted(self.tail, near, side="left")
        return np.asarray((further + 1) / (len(self.tail) + 1))

    @property
    def least(self) -> float:
        """The smallest familiarity that can be told on so many validation texts."""
        return 1 / (len(self.tail) + 1)

    def save(self, folder: Path) -> None:
        """Put it into a model folder."""
        tensors = {"middle": self.middle, "whiten": self.whiten, "tail": self.tail}
        with writing(folder / FILE) as file:  # save_file would keep it from other users
            file.write(save(tensors))


def fit(train: Vectors, validation: Vectors) -> Familiarity:
    """Middle and covariance of the training texts, distances of the validation texts.

    Args:
        train: [m, H], at least two.
        validation: [n, H], of other groups, at least one.
    """
    from sklearn.covariance import LedoitWolf

    x = np.asarray(train, np.float64)
    spread = x.std(0)
    # Shrunk towards a ball: directions are first brought to one scale.
    spread[spread < 1e-9] = max(1e-9, float(spread.max()))
    shrunk = LedoitWolf().fit(x / spread)
    values, directions = np.linalg.eigh(shrunk.covariance_)
    whiten = directions / np.sqrt(np.maximum(values, 1e-12)) / spread[:, None]
    found = Familiarity(
        x.mean(0).astype(np.float32), whiten.astype(np.float32), np.zeros(0, np.float32)
    )
    tail = np.sort(found.distances(validation)).astype(np.float32)
    return Familiarity(found.middle, found.whiten, tail)


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
        known = Familiarity(found["middle"], found["whiten"], found["tail"])
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
    return known
