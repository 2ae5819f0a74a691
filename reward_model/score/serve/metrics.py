"""What Prometheus is told: requests, texts, passes, queue, latency, refusals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reward_model.score.serve.batching import Pass

if TYPE_CHECKING:
    from reward_model.score.scorer import Score

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self, model: str, digest: str) -> None:
        self.registry = CollectorRegistry()
        self._about(model, digest)
        self.requests = Counter(
            "reward_requests", "Requests answered.", ["route", "status"], registry=self.registry
        )
        self.seconds = Histogram(
            "reward_request_seconds",
            "From the end of a request's headers to its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.refused = Counter(
            "reward_refused", "Requests refused, by kind.", ["type"], registry=self.registry
        )
        self.hung_up = Counter(
            "reward_hung_up", "Clients that left before their answer.", registry=self.registry
        )
        self.texts = Counter("reward_texts", "Texts scored.", registry=self.registry)
        self.no_opinion = Counter(
            "reward_no_opinion", "Texts without an opinion.", registry=self.registry
        )
        self.truncated = Counter(
            "reward_truncated", "Texts cut to fit the model.", ["part"], registry=self.registry
        )
        self.pass_texts = Histogram(
            "reward_pass_texts",
            "Texts of one pass through the model.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=self.registry,
        )
        self.pass_seconds = Histogram(
            "reward_pass_seconds",
            "Time of one pass through the model.",
            buckets=_SECONDS,
            registry=self.registry,
        )

    def _about(self, model: str, digest: str) -> None:
        about = Gauge(
            "reward_model_info", "The model served.", ["model", "digest"], registry=self.registry
        )
        about.labels(model, digest).set(1)

    def watch(self, name: str, words: str, value: Callable[[], float]) -> None:
        """A number that is read when it is asked for."""
        Gauge(f"reward_{name}", words, registry=self.registry).set_function(value)

    def passed(self, one: Pass) -> None:
        """Count a pass."""
        self.pass_texts.observe(one.texts)
        self.pass_seconds.observe(one.seconds)

    def scored(self, scores: Sequence[Score]) -> None:
        """Count the texts of an answered request."""
        self.texts.inc(len(scores))
        for part in ("prompt", "response"):
            cut = sum(getattr(score, f"{part}_truncated") for score in scores)
            if cut:
                self.truncated.labels(part).inc(cut)
        silent = sum(score.reward is None for score in scores)
        if silent:
            self.no_opinion.inc(silent)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)
