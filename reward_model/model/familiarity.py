"""How like the training texts a text is: by what the heads read of it, and by what it repeats.

The probabilities of a softmax do not tell: far from all training texts it is as sure as ever. The
distance of the vector does (Mahalanobis, with a shrunk covariance: Lee et al., arXiv 1807.03888;
Ledoit and Wolf, 2004), save for a text that says the same again and again, which a mean over tokens
hardly shows: so how much of it is repeated is measured beside it. `fit(train, validation, repeats)`
keeps both of the validation texts, `.of(vectors, repeats)` gives the share of these that are at
least as strange; `save` and `load` keep it in a model folder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

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
_STILL = 1e-4
"""Of the median spread of a vector's numbers: what moves less moves by rounding."""
_LEAST = 0.1
"""Share of repeated runs that counts as a step where the validation texts hardly repeat anything: a
table or a stock phrase more makes no honest report strange."""


@dataclass(frozen=True)
class Familiarity:
    """Where the training texts lie, how far from there the validation texts are, and how much of
    themselves these repeat."""

    middle: Vectors
    """[H] mean of the training texts."""
    whiten: Vectors
    """[H, H]: vectors minus `middle`, times it, are at their Mahalanobis distance from 0."""
    tail: Vectors
    """[n] distances of the validation texts, sorted."""
    repeats: Vectors | None = None
    """[n] what `repeated` gives of the same texts; None: only the distance is known."""

    def distances(self, vectors: Vectors) -> Floats:
        """[B, H] -> [B], in standard deviations of the training texts, over all directions."""
        apart = (vectors - self.middle) @ self.whiten
        return np.asarray(np.sqrt(np.einsum("bh,bh->b", apart, apart, dtype=np.float64)))

    def of(self, vectors: Vectors, repeats: Floats | None = None) -> Floats:
        """[B, H] and [B] -> [B], in (0, 1]: (k + 1) / (n + 1), where k of n validation texts are at
        least as strange; so of texts like these at most a share `a` has a familiarity of `a` or
        less.

        How strange a text is says the larger of its distance and its repetition, each in steps from
        the middle one of the validation texts to that which a tenth of them is above.
        """
        far = self.distances(vectors) * (1 - _SAME)
        known: Floats | Vectors = self.tail
        strange = far
        if self.repeats is not None and repeats is not None:
            known, steps = self._known
            strange = _strangeness(far, repeats * (1 - _SAME), steps)
        further = len(known) - np.searchsorted(known, strange, side="left")
        return np.asarray((further + 1) / (len(known) + 1))

    @cached_property
    def _known(self) -> tuple[Floats, tuple[_Step, _Step]]:
        """[n] strangeness of the validation texts, sorted, and what it is counted in."""
        repeats = np.zeros_like(self.tail) if self.repeats is None else self.repeats
        steps = _step(self.tail, _SAME), _step(repeats, _LEAST)
        return np.sort(_strangeness(self.tail, repeats, steps)), steps

    @property
    def least(self) -> float:
        """The smallest familiarity that can be told on so many validation texts."""
        return 1 / (len(self.tail) + 1)

    def save(self, folder: Path) -> None:
        """Put it into a model folder."""
        tensors = {"middle": self.middle, "whiten": self.whiten, "tail": self.tail}
        if self.repeats is not None:
            tensors["repeats"] = self.repeats
        with writing(folder / FILE) as file:  # save_file would keep it from other users
            file.write(save(tensors))


class _Step(NamedTuple):
    middle: float
    size: float


def _step(values: Vectors, least: float) -> _Step:
    """From the middle value to that which a tenth is above; at least so much."""
    middle, high = np.quantile(values, (0.5, 0.9)).tolist()
    return _Step(middle, max(high - middle, least))


def _strangeness(
    far: Floats | Vectors, repeats: Floats | Vectors, steps: tuple[_Step, _Step]
) -> Floats:
    """[B] and [B] -> [B]"""
    both = [
        (np.asarray(values, np.float64) - step.middle) / step.size
        for values, step in zip((far, repeats), steps, strict=True)
    ]
    return np.asarray(np.maximum(*both))


def fit(train: Vectors, validation: Vectors, repeats: Floats | None = None) -> Familiarity:
    """Middle and covariance of the training texts, distances of the validation texts.

    Args:
        train: [m, H], at least two.
        validation: [n, H], of other groups, at least one.
        repeats: [n] what `repeated` gives of the validation texts.
    """
    from sklearn.covariance import LedoitWolf

    x = np.asarray(train, np.float64)
    spread = x.std(0)
    # Shrunk towards a ball: directions are first brought to one scale.
    still = max(1e-9, _STILL * float(np.median(spread)))
    spread[spread < still] = max(1e-9, float(spread.max()))
    shrunk = LedoitWolf().fit(x / spread)
    values, directions = np.linalg.eigh(shrunk.covariance_)
    whiten = directions / np.sqrt(np.maximum(values, 1e-12)) / spread[:, None]
    found = Familiarity(
        x.mean(0).astype(np.float32), whiten.astype(np.float32), np.zeros(0, np.float32)
    )
    tail = found.distances(validation)
    order = np.argsort(tail)
    said_before = None if repeats is None else repeats[order].astype(np.float32)
    return replace(found, tail=tail[order].astype(np.float32), repeats=said_before)


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
        known = Familiarity(found["middle"], found["whiten"], found["tail"], found.get("repeats"))
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
    if known.repeats is not None and known.repeats.shape != known.tail.shape:
        raise UserError(
            f"repetition of {known.repeats.size} texts, and distances of {known.tail.size}",
            expected="both of the texts that the model was validated on",
            mend="remove it to score without familiarity",
            path=path,
        )
    return known
