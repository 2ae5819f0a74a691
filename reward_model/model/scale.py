"""Rewards centred and scaled: `(reward - mean) / sd` of the rewards of reference texts.

`reward-model calibrate MODEL TEXTS --rewards`, or `train --center-rewards`, stores mean and sd in
the model's folder; `read_scale([folder])` gives them to a scorer that was asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reward_model.model.folder import SCALE, model_digest
from reward_model.records import UserError, digest, read_object, write_json
from reward_model.records.files import Pathish
from reward_model.records.hub import is_fetched
from reward_model.stats.bootstrap import Floats

ALIKE = 1e-9
"""Standard deviation below which rewards are all the same."""


@dataclass(frozen=True)
class RewardScale:
    """Where the rewards of reference texts lie."""

    mean: float
    """Of the rewards, in [0, 1]."""
    sd: float
    """Standard deviation of the rewards, above 0."""
    means: dict[str, float]
    """Dimension -> mean of its own reward, in [0, 1]."""
    sds: dict[str, float]
    """Dimension -> standard deviation of its own reward; 1 where that is the same on all texts, so
    that only its mean is taken off."""
    texts: int
    """Responses with a reward."""
    no_opinion: int
    """Responses without one, which are left out."""
    file: str
    """Name of the file of the texts."""
    digest: str
    """Fingerprint of its rows."""
    model: str
    """Fingerprint of the model, or of several and how they are joined."""
    weights: dict[str, float]
    """Dimension -> share in the reward."""
    risk: float
    """Lambda of the reward's ``mean - lambda * sd``."""

    def centered(self, reward: float) -> float:
        """How many standard deviations a reward is above the mean of the reference texts."""
        return (reward - self.mean) / self.sd

    def dimension(self, name: str, reward: float) -> float:
        """The same of the reward of one dimension."""
        return (reward - self.means[name]) / self.sds[name]

    def lowest(self) -> dict[str, Any]:
        """What a response on the lowest level of all dimensions earns: `reward`, and by dimension
        `centered`, as a score has them."""
        names = {name: self.dimension(name, 0.0) for name in self.means}
        return {"reward": self.centered(0.0), "centered": names}

    def check(self, weights: Mapping[str, float] | None, risk: float) -> None:
        """Whether a reward of these terms is one that the scale was made of.

        Args:
            weights: dimension -> share in the reward; None where no scalar is asked for.
            risk: lambda of the reward's ``mean - lambda * sd``.

        Raises:
            UserError: other weights, or another risk.
        """
        same = weights is None or all(
            math.isclose(self.weights.get(n, 0.0), weights.get(n, 0.0), abs_tol=1e-9)
            for n in {*self.weights, *weights}
        )
        if not same or not math.isclose(self.risk, risk, abs_tol=1e-12):
            flags = _flags({} if same else weights or {}, risk)
            raise UserError(
                "weights or a risk that the stored mean and standard deviation were not made with",
                expected="the same for centred rewards",
                mend=f"reward-model calibrate MODEL TEXTS --rewards{flags}",
            )

    def told(self) -> dict[str, Any]:
        """What outputs say of the scale."""
        return {"mean": self.mean, "sd": self.sd, "texts": self.texts, "digest": self.digest}


def _flags(weights: Mapping[str, float], risk: float) -> str:
    said = [f" --weight {name}={share:g}" for name, share in weights.items() if share]
    return "".join(said) + (f" --risk {risk:g}" if risk else "")


def fit_scale(
    rewards: Floats,
    own: Floats,
    weights: Mapping[str, float],
    risk: float,
    *,
    no_opinion: int,
    texts: Path,
    rows: str,
    model: str,
) -> RewardScale:
    """The scale of the rewards of reference texts.

    Args:
        rewards: [N] scalars.
        own: [N, D] rewards of each dimension, in the order of `weights`.
        weights: dimension -> share in the reward, of all D.
        risk: lambda of the reward's ``mean - lambda * sd``.
        no_opinion: responses without a reward, which are not among the N.
        texts: file of the texts.
        rows: fingerprint of its rows.
        model: fingerprint as `models_digest` gives it.

    Raises:
        UserError: fewer than two rewards, or rewards that are all alike.
    """
    if len(rewards) < 2:
        raise UserError(
            f"{len(rewards)} responses with a reward", expected="at least two", path=texts
        )
    sd = float(np.std(rewards, ddof=1))
    if sd < ALIKE:
        raise UserError(
            f"the same reward for all {len(rewards)} responses",
            expected="reference texts that differ",
            path=texts,
        )
    spread = np.std(own, axis=0, ddof=1)
    spread[spread < ALIKE] = 1.0
    return RewardScale(
        mean=float(np.mean(rewards)),
        sd=sd,
        means=dict(zip(weights, np.mean(own, axis=0).tolist(), strict=True)),
        sds=dict(zip(weights, spread.tolist(), strict=True)),
        texts=len(rewards),
        no_opinion=no_opinion,
        file=texts.name,
        digest=rows,
        model=model,
        weights=dict(weights),
        risk=risk,
    )


def models_digest(folders: Sequence[Pathish], how: str = "mean") -> str:
    """Fingerprint of a model, or of several and how they are joined, in any order."""
    found = sorted(model_digest(Path(folder)) for folder in folders)
    return found[0] if len(found) == 1 else digest([*found, how])


def _name(models: str, several: bool) -> str:
    return f"{Path(SCALE).stem}.{models[:12]}.json" if several else SCALE


def store_scale(folders: Sequence[Path], scale: RewardScale) -> Path | None:
    """Write the scale beside the model, of several beside the first, and say where.

    Returns:
        The file; None where every folder is the copy of a model of a hub, not ours to write into.

    Raises:
        UserError: the folder cannot be written.
    """
    own = next((folder for folder in folders if not is_fetched(folder)), None)
    if own is None:
        return None
    path = own / _name(scale.model, len(folders) > 1)
    write_json(path, asdict(scale))
    return path


def read_scale(folders: Sequence[Pathish], how: str = "mean") -> RewardScale:
    """The scale that is stored with a model, or with one of several.

    Args:
        folders: of the models.
        how: several are joined, `mean` or `minimum`.

    Raises:
        UserError: there is none, it is broken, or of other weights of the model.
    """
    first, *others = [Path(folder) for folder in folders]
    joined = "".join(f" --with {one}" for one in others)
    joined += f" --how {how}" if others and how != "mean" else ""
    mend = f"reward-model calibrate {first} TEXTS --rewards{joined}"
    models = models_digest(folders, how)
    name = _name(models, several=bool(others))
    path = next((one / name for one in (first, *others) if (one / name).exists()), None)
    if path is None:
        raise UserError(
            f"no {name}",
            expected="the mean and standard deviation of the reward on reference texts",
            mend=mend,
            path=first,
        )
    stored = read_object(path, strict=True)
    try:
        scale = RewardScale(**(stored or {}))
        means, sds = [scale.mean, *scale.means.values()], [scale.sd, *scale.sds.values()]
        fine = set(scale.means) == set(scale.sds) == set(scale.weights) != set()
        fine = fine and all(map(math.isfinite, means)) and all(0 < sd < math.inf for sd in sds)
    except (AttributeError, TypeError, ValueError):
        fine = False
    if not fine:
        raise UserError("no mean and standard deviation of rewards", mend=mend, path=path)
    if scale.model != models:
        raise UserError(
            "the mean and standard deviation of another model (it was trained or calibrated since)",
            mend=mend,
            path=path,
        )
    return scale


__all__ = ["RewardScale", "fit_scale", "models_digest", "read_scale", "store_scale"]
