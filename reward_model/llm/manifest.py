"""What is remembered of batches across days and kills."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class OpenBatch(BaseModel):
    """A batch that is under way."""

    model_config = ConfigDict(extra="forbid")

    tag: str
    """Ours, sent along as metadata, so that a batch is found again after a kill."""
    id: str | None = None
    """The provider's; None until it answered."""
    most_usd: float = 0.0
    without: tuple[str, ...] = ()
    """Parameters that the model was known to refuse when the lines were written."""
    sent: dict[str, Any] = {}
    """Parameters that stand in its lines, and which form of answer was asked for."""
    asked: list[int] = []
    """Tokens of each request, by estimate."""
    keys: list[str]
    """Ledger keys of the requests in it."""


class Manifest(BaseModel):
    """The batches of one model."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["batches-1"] = "batches-1"
    model: str
    base_url: str
    learned: dict[str, Any] = {}
    """What rows of earlier batches taught about the model."""
    open: list[OpenBatch] = []
