"""What a server can be told, with the reason of every default."""

from __future__ import annotations

import math
from dataclasses import dataclass

from reward_model.records import UserError
from reward_model.records.page.phrases import PageLanguage


@dataclass(frozen=True)
class Settings:
    """Limits of a server; everything a client can make grow is bounded by one of them."""

    max_batch_items: int = 256
    """Most texts of one pass through the model."""
    max_batch_tokens: int | None = None
    """About as many tokens in one pass, padding included; if None, the scorer's batch, but at least
    8192."""
    max_wait_ms: float = 2.0
    """How long a pass may wait for company, and only while requests come many at once."""
    max_queue: int = 2048
    """Texts that may wait; more are refused with 503. A rollout of 2,000 samples fits."""
    max_pending_mb: int = 512
    """Request bodies held at once, waiting or being read; more are refused with 503."""
    max_body_mb: float = 16.0
    """One request body: some forty prompts of 120,000 Chinese characters."""
    max_items: int = 256
    """Texts of one request."""
    timeout_s: float = 120.0
    """From the end of a request's headers to its answer; 504 after it. OpenRLHF waits 180 s."""
    evidence_s: float = 10.0
    """For the checks of one text, where the model reads them; without them it has no opinion."""
    drain_s: float = 60.0
    """How long a stopping server works on what it has accepted."""
    chat_template: str | None = None
    """Name or file of the policy's chat template; see `reward_model.records.chat`."""

    no_opinion: float | None = None
    """Reward of a text without an opinion, at the routes whose clients need a number."""
    page_language: PageLanguage = "en"
    """Of the page at /."""

    def __post_init__(self) -> None:
        numbers = {
            "--max-batch-items": self.max_batch_items,
            "--max-batch-tokens": self.max_batch_tokens,
            "--max-queue": self.max_queue,
            "--max-pending-mb": self.max_pending_mb,
            "--max-body-mb": self.max_body_mb,
            "--max-items": self.max_items,
            "--timeout": self.timeout_s,
            "--evidence-timeout": self.evidence_s,
            "--drain": self.drain_s,
        }
        for name, value in numbers.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise UserError(f"{name} {value}", expected="a number above 0")
        if self.no_opinion is not None and not math.isfinite(self.no_opinion):
            raise UserError(f"--no-opinion {self.no_opinion}", expected="a number")
        if not (0 <= self.max_wait_ms <= 1000):
            raise UserError(f"--max-wait {self.max_wait_ms}", expected="0 to 1000 milliseconds")
        if self.max_items > self.max_queue:
            raise UserError(
                f"--max-items {self.max_items} above --max-queue {self.max_queue}",
                expected="a queue that holds at least one request",
            )
        if self.max_body_mb > self.max_pending_mb:
            raise UserError(
                f"--max-body-mb {self.max_body_mb} above --max-pending-mb {self.max_pending_mb}",
                expected="room for at least one request",
            )

    @property
    def max_body(self) -> int:
        """Bytes of one body."""
        return int(self.max_body_mb * 1e6)

    @property
    def max_pending(self) -> int:
        """Bytes of all bodies."""
        return int(self.max_pending_mb * 1e6)
