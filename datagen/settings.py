"""Options of `datagen pairs` and `revise`, from flags and a TOML file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from datagen.fields import FIELDS, field_name
from reward_model.llm.addresses import Address, ModelName, model_names
from reward_model.llm.options import ModelOptions
from reward_model.records.settings import parse_settings, read_toml


class CallSettings(ModelOptions):
    """How models are called, whatever is made with them."""

    seed: int = 0
    llm: tuple[ModelName, ...] = ("offline",)
    """Models that share the work; one writes and edits all of a pair."""
    base_url: Address | None = None
    max_tokens: int | None = Field(default=8192, ge=1)
    retries: int = Field(default=2, ge=0)
    """Times a reply that fails its checks is asked for anew."""
    ledger: str | None = None
    max_concurrency: int = Field(default=256, ge=1)
    """Most calls out at once to each model; how many it takes is found by trying."""
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_s: float = Field(default=600, gt=0)
    """Longest wait for one reply."""
    batch: bool = False
    """Send the calls through the provider's Batch API, at half the price, within a day a round."""
    wait: bool = False
    """Wait for the batches instead of leaving with exit code 3."""
    budget_usd: float | None = Field(default=None, ge=0)
    prices: str | None = None
    """Price table over the one that ships."""


class Settings(CallSettings):
    """Everything that decides a data set of `datagen pairs`, and how fast it is made."""

    fields: tuple[str, ...] = tuple(FIELDS)
    """Fields to cover, evenly."""
    n_pairs_per_field: int = Field(default=10, ge=1)
    pairs: int | None = Field(default=None, ge=1)
    """Number of pairs over all fields; takes the place of `n_pairs_per_field`."""
    language: Literal["zh", "en", "both"] = "zh"
    rubric: str = "financial_report"
    statements: str | None = None
    """File of companies of one's own, instead of those that ship."""
    frameworks: str | None = None
    """Folder of frameworks of one's own, instead of those that ship."""
    real: bool = True
    """Use the companies that ship; without them and without `statements` all are invented."""
    synthetic: int = Field(default=0, ge=0)
    """Invented companies beside the real ones; more are invented when the real ones run out."""
    pairs_per_company: int = Field(default=4, ge=1)
    """Most pairs of one company before companies are invented."""
    degradations: tuple[str, ...] = ()
    """Degradations of the rubric to draw from; none named means all."""
    severities: tuple[int, ...] = ()
    """Severities to draw from; none named means all that a degradation has."""
    neutral_share: float = Field(default=0.15, ge=0, le=1)
    """Share of pairs that are neutral rewrites, the controls."""
    planted_share: float = Field(default=0.5, ge=0, le=1)
    """Share of pairs with wrong calculations whose errors code plants, place and kind recorded."""
    edit_gold: bool = True
    """Send the gold through a neutral edit too, so that being edited gives no side away."""
    temperature_gold: float | None = Field(default=0.7, ge=0, le=2)
    temperature_degraded: float | None = Field(default=None, ge=0, le=2)
    """None takes that of the gold: two temperatures are a tell of their own."""

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.fields:
            raise ValueError("fields: at least one is needed")
        if not self.llm:
            raise ValueError("llm: at least one is needed")
        self.check_together(self.llm, self.base_url)
        return self

    @property
    def degraded_temperature(self) -> float | None:
        """Temperature of the edit that makes the rejected side."""
        same = self.temperature_degraded is None
        return self.temperature_gold if same else self.temperature_degraded

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages to write in."""
        return ("zh", "en") if self.language == "both" else (self.language,)

    @property
    def total(self) -> int:
        """Number of pairs."""
        return self.pairs if self.pairs is not None else self.n_pairs_per_field * len(self.fields)


class RevisionSettings(CallSettings):
    """Everything that decides a data set of `datagen revise`, and how fast it is made."""

    constitution: str = "constitution"
    """Rubric whose dimensions are the principles."""
    principles: tuple[str, ...] = ()
    """Principles to draw from; none named means all that have a weight."""
    temperature: float | None = Field(default=0.7, ge=0, le=2)

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.llm:
            raise ValueError("llm: at least one is needed")
        self.check_together(self.llm, self.base_url)
        return self


ONLY_SPEED = {
    "ledger", "max_concurrency", "requests_per_minute", "tokens_per_minute", "timeout_s", "batch",
    "wait", "budget_usd", "prices", "header",
}  # fmt: skip
"""Options that change how a data set is made, not what it holds."""


def resolve(given: dict[str, Any], config: Path | None) -> Settings:
    """Options of the command line over those of a TOML file over the defaults.

    >>> resolve({"llm": "offline", "fields": "finance"}, None).fields
    ('金融业',)

    Raises:
        UserError: every mistake at once.
    """
    values = _values(given, config)
    if "fields" in values:
        names = values["fields"]
        if not isinstance(names, (list, tuple)):
            names = _words(str(names))
        values["fields"] = list(dict.fromkeys(field_name(str(name)) for name in names))
    for several in ("degradations", "severities"):
        if isinstance(values.get(several), str):
            values[several] = [name.strip() for name in _words(values[several])]
    what = "the options that docs/datagen.md lists"
    return parse_settings(values, Settings, what, path=config, flags=given)


def resolve_revision(given: dict[str, Any], config: Path | None) -> RevisionSettings:
    """Options of the command line over those of a TOML file over the defaults.

    Raises:
        UserError: every mistake at once.
    """
    values = _values(given, config)
    if isinstance(values.get("principles"), str):
        values["principles"] = [name.strip() for name in _words(values["principles"])]
    what = "the options that docs/datagen.md lists"
    return parse_settings(values, RevisionSettings, what, path=config, flags=given)


def _values(given: dict[str, Any], config: Path | None) -> dict[str, Any]:
    """What a file says, in Python's names, and what is given over it."""
    read: dict[str, Any] = read_toml(config) if config is not None else {}
    values = {name.replace("-", "_"): value for name, value in read.items()} | given
    if "llm" in values:
        values["llm"] = model_names(values["llm"], config)
    return values


def _words(text: str) -> list[str]:
    return text.replace("，", ",").split(",")
