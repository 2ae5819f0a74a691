"""Settings of `judge score`: flags over a TOML file over defaults, all mistakes in one message."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from reward_model.llm.addresses import Address, ModelName, model_names
from reward_model.llm.options import ModelOptions
from reward_model.records.settings import parse_settings, read_toml

Evidence = Literal["checks", "none"]
WITHOUT_EFFECT = frozenset(
    {
        "attempts",
        "batch",
        "budget",
        "header",
        "ledger",
        "max_concurrency",
        "overwrite_scores",
        "prices",
        "requests_per_minute",
        "timeout",
        "tokens_per_minute",
        "wait",
    }
)
"""Settings that change how the work is done, not what comes out."""


class ScoreSettings(ModelOptions):
    """What decides the levels, and how the calls are made."""

    llm: tuple[ModelName, ...] = Field(default=("offline",), min_length=1)
    """`provider:model`; several are a panel."""
    rubric: str = "financial_report"
    """Name of a rubric that ships, or path of a TOML file."""
    mode: Literal["per-dimension", "all", "pairwise"] = "per-dimension"
    """One call a dimension keeps one impression from colouring the others. `pairwise` shows both
    sides in one call, a dimension at a time, and asks again in the other order."""
    samples: int = Field(default=1, ge=1, le=100)
    """Draws a level; the level is their rounded mean."""
    reasoning: Literal["first", "none"] = "first"
    expectation: bool = False
    """Also keep the expected level from the probabilities of the level tokens; needs reasoning
    none, since a level that follows from written reasons is all but certain."""
    evidence: Evidence = "none"
    """`checks`: the judge of accuracy sees which figures agree with the tables."""
    language: Literal["auto", "zh", "en"] = "auto"
    """Of the judge's prompt; auto follows the text that is judged."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=4096, ge=1)
    """Room for models that think before they answer."""
    max_prompt_chars: int = Field(default=0, ge=0)
    """0 shows a prompt whole."""
    retries: int = Field(default=2, ge=0, le=20)
    """Times a reply that cannot be read is asked for again."""
    seed: int = 0
    base_url: Address | None = None
    overwrite_scores: bool = False
    ledger: str | None = None
    """File of all calls; None is OUT.calls.jsonl."""
    max_concurrency: int = Field(default=32, ge=1, le=1024)
    """Calls under way at once, at most; fewer while the provider asks for patience."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    budget: float | None = Field(default=None, gt=0)
    """US dollars in all, earlier runs with the same ledger included."""
    prices: str | None = None
    """Price table over the one that ships."""
    batch: bool = False
    """Through the provider's Batch API: half the price, within a day a round."""
    wait: bool = False
    """With `batch`: wait for the batches instead of leaving with exit code 3."""
    attempts: int = Field(default=8, ge=1, le=100)
    """Tries of a call that gets no answer, before its levels are owed."""
    timeout: float = Field(default=600.0, gt=0)
    """Longest wait for one reply, in seconds."""

    @model_validator(mode="after")
    def _expectation_without_reasons(self) -> Self:
        if self.expectation and self.reasoning != "none":
            raise ValueError("expectation works only with reasoning none; add --reasoning none")
        if self.expectation and self.mode == "pairwise":
            raise ValueError("expectation does not work with mode pairwise; choose another mode")
        self.check_together(self.llm, self.base_url)
        return self


def resolve(given: Mapping[str, Any], config: Path | None = None) -> ScoreSettings:
    """Settings of a run: `given` flags win over the file.

    >>> resolve({"samples": 3}).samples
    3

    Raises:
        UserError: unreadable file, or unknown or wrong settings.
    """
    values = read_toml(config) if config is not None else {}
    if "llm" in values:
        values["llm"] = model_names(values["llm"], config)
    what = "the settings that docs/judge.md lists"
    merged = {**values, **given}
    return parse_settings(merged, ScoreSettings, what, path=config, flags=given)
