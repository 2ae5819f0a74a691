"""Rewards centred and scaled: `(reward - mean) / sd` of the rewards of reference texts.

`reward-model calibrate MODEL TEXTS --rewards` stores mean and sd in the model's folder;
`read_scale(folder, weights, risk)` gives them to a scorer that was asked for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reward_model.model.folder import SCALE, model_digest
from reward_model.records import UserError, read_object, write_json
from reward_model.records.files import Pathish


@dataclass(frozen=True)
class RewardScale:
    """Where the rewards of reference texts lie."""

    mean: float
    """Of the rewards, in [0, 1]."""
    sd: float
    """Standard deviation of the rewards, above 0."""
    texts: int
    """Responses with a reward."""
    no_opinion: int
    """Responses without one, which are left out."""
    file: str
    """Name of the file of the texts."""
    digest: str
    """Fingerprint of its rows."""
    model: str
    """Fingerprint of the model."""
    weights: dict[str, float]
    """Dimension -> share in the reward."""
    risk: float
    """Lambda of the reward's ``mean - lambda * sd``."""

    def centered(self, reward: float) -> float:
        """How many standard deviations a reward is above the mean of the reference texts."""
        return (reward - self.mean) / self.sd

    def check(self, weights: Mapping[str, float], risk: float) -> None:
        """Whether a reward of these terms is one that the scale was made of.

        Raises:
            UserError: other weights, or another risk.
        """
        same = all(
            math.isclose(self.weights.get(n, 0.0), weights.get(n, 0.0), abs_tol=1e-9)
            for n in {*self.weights, *weights}
        )
        if not same or not math.isclose(self.risk, risk, abs_tol=1e-12):
            raise UserError(
                "weights or a risk that the stored mean and standard deviation were not made with",
                expected="the same for centred rewards",
                mend=f"reward-model calibrate MODEL TEXTS --rewards{_flags(weights, risk)}",
            )

    def told(self) -> dict[str, Any]:
        """What outputs say of the scale."""
        return {"mean": self.mean, "sd": self.sd, "texts": self.texts, "digest": self.digest}


def _flags(weights: Mapping[str, float], risk: float) -> str:
    said = [f" --weight {name}={share:g}" for name, share in weights.items() if share]
    return "".join(said) + (f" --risk {risk:g}" if risk else "")


def store_scale(folder: Path, scale: RewardScale) -> Path:
    """Write the scale beside the model, and say where.

    Raises:
        UserError: the folder cannot be written.
    """
    path = folder / SCALE
    write_json(path, asdict(scale))
    return path


def read_scale(folder: Pathish) -> RewardScale:
    """The scale that is stored with a model.

    Raises:
        UserError: there is none, it is broken, or of other weights of the model.
    """
    path = Path(folder) / SCALE
    mend = f"reward-model calibrate {folder} TEXTS --rewards"
    if not path.exists():
        raise UserError(
            f"no {SCALE}",
            expected="the mean and standard deviation of the reward on reference texts",
            mend=mend,
            path=folder,
        )
    stored = read_object(path, strict=True)
    try:
        scale = RewardScale(**(stored or {}))
        fine = math.isfinite(scale.mean) and 0 < scale.sd < math.inf and dict(scale.weights)
    except (TypeError, ValueError):
        fine = False
    if not fine:
        raise UserError("no mean and standard deviation of rewards", mend=mend, path=path)
    if scale.model != model_digest(Path(folder)):
        raise UserError(
            "the mean and standard deviation of another model (it was trained or calibrated since)",
            mend=mend,
            path=path,
        )
    return scale


def scale_of(folders: Sequence[Path]) -> RewardScale:
    """The scale of what is to be scored with.

    Raises:
        UserError: as `read_scale`, or several models.
    """
    if len(folders) > 1:
        raise UserError("--centered with several models", expected="it with one model")
    return read_scale(folders[0])


__all__ = ["RewardScale", "read_scale", "scale_of", "store_scale"]
