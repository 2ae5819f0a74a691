"""The records: a pair of responses to one prompt, with what is known of how they were made.

The column names are those preference trainers read, so a file of pairs needs no conversion.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    StrictInt,
    ValidationError,
    model_validator,
)

from reward_model.records.chat.messages import ChatError, Text, as_text
from reward_model.records.chat.turns import apart, judged
from reward_model.records.errors import UserError
from reward_model.records.files import Pathish, digest, read_jsonl

Side = Literal["chosen", "rejected"]
SIDES: tuple[Side, Side] = ("chosen", "rejected")
TEXT_KEYS = frozenset({"prompt", *SIDES, "response", "completion"})
"""Keys that hold a text or chat messages, in any record."""
Levels = dict[str, StrictInt | None]
"""Dimension -> level; None is "the judge gave none", never a number."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class _Open(BaseModel):
    """Metadata: the keys this package knows are typed, all others are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)


class GoldMetadata(_Open):
    """How the chosen side was made."""

    quality_focus: str | None = None
    model: str | None = None
    """`provider:model`, or the name a server returned."""
    temperature: float | None = None
    call: str | None = None
    """Key of the ledger entry that produced the text."""


class Planted(_Open):
    """An error put into the rejected side by code, at a known place."""

    where: tuple[int, int]
    """Character offsets [start, end) in the rejected text."""
    was: str
    now: str
    error: str
    """Kind of error, one of `reward_model.checks.ERROR_KINDS`."""


class DefectMetadata(_Open):
    """How the rejected side was made from the chosen side."""

    degradation_type: str | None = None
    severity: int | None = Field(default=None, ge=1)
    targets: tuple[str, ...] | None = None
    """Dimensions that the degradation is meant to lower."""
    model: str | None = None
    temperature: float | None = None
    call: str | None = None
    planted: tuple[Planted, ...] = ()


class Metadata(_Open):
    """What is known of a pair; never shown to a judge or a model."""

    field: str | None = None
    language: str | None = None
    prompt_id: str | None = Field(default=None, coerce_numbers_to_str=True)
    """Shared by everything that shares a prompt or a company."""
    company: str | None = Field(default=None, coerce_numbers_to_str=True)
    kind: Literal["degraded", "neutral", "revised"] | None = None
    """`neutral`: a rewrite that must not change the scores; a control, not a preference."""
    gold_metadata: GoldMetadata | None = None
    defect_metadata: DefectMetadata | None = None


class JudgeMetadata(_Open):
    """Who scored, by which rubric."""

    model: str | None = None
    rubric: str | None = None
    """`name@digest` of the rubric."""
    samples: int | None = None
    spread: dict[Side, dict[str, float]] | None = None
    """Standard deviation over samples, in levels, by side and dimension."""


class Scores(_Strict):
    """Levels of both sides, and why."""

    chosen: Levels
    rejected: Levels
    reasoning: dict[str, str | dict[str, str | None] | None] | None = None
    """By side then dimension; older files have one text a dimension for both sides together."""
    judge: JudgeMetadata | None = None
    overall_assessment: str | None = None
    """One text on the pair, in older files."""

    def side(self, side: Side) -> Levels:
        """The levels of one side."""
        return self.chosen if side == "chosen" else self.rejected

    def reason(self, side: Side, dimension: str) -> str | None:
        """Why `dimension` of `side` got its level, if the judge said so."""
        texts = self.reasoning or {}
        own = texts.get(side)
        if isinstance(own, dict):
            return own.get(dimension)
        shared = texts.get(dimension)
        return shared if isinstance(shared, str) else None

    def gap(self, dimension: str) -> int | None:
        """Chosen level minus rejected level; None when either is missing."""
        high, low = self.chosen.get(dimension), self.rejected.get(dimension)
        return None if high is None or low is None else high - low


def _taken_apart(record: Any, *sides: str) -> Any:
    """A record whose `prompt` is what was asked and whose `sides` are what is judged of them."""
    prompt, written = apart(record.prompt, *(getattr(record, side) for side in sides))
    read = [judged(prompt, text) for text in written]
    told: dict[str, Text] = {side: one.text for side, one in zip(sides, read, strict=True)}
    told["prompt"] = read[0].prompt
    changed = {key: text for key, text in told.items() if text != getattr(record, key)}
    return record.model_copy(update=changed) if changed else record


class Pair(_Strict):
    """Two responses to one prompt, the first meant to be better (unless `kind` is neutral).

    Of messages, the turns that both sides begin with are read into the prompt, and a side is what
    the assistant said, without its thoughts; see `reward_model.records.chat.turns`.
    """

    id: str = Field(default="", coerce_numbers_to_str=True)
    """Numbers are taken as well."""
    prompt: Text = ""
    """Empty where a data set has none."""
    chosen: Text
    rejected: Text
    metadata: Metadata = Field(
        default_factory=Metadata, validation_alias=AliasChoices("metadata", "meta")
    )
    scores: Scores | None = None

    @model_validator(mode="wrap")
    @classmethod
    def _apart(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        pair: Self = _taken_apart(handler(value), *SIDES)
        return pair

    @property
    def key(self) -> str:
        """`id`, or a fingerprint of the texts where the file gives none."""
        return self.id or digest([as_text(t) for t in (self.prompt, self.chosen, self.rejected)])

    @property
    def group(self) -> str:
        """What splits and bootstraps keep together: `prompt_id`, else company, else prompt."""
        known = self.metadata.prompt_id or self.metadata.company
        return known or digest(as_text(self.prompt) or as_text(self.chosen))

    @property
    def is_neutral(self) -> bool:
        """A control whose two sides should score the same."""
        return self.metadata.kind == "neutral"

    def side(self, side: Side) -> Text:
        """The text of one side."""
        return self.chosen if side == "chosen" else self.rejected

    def to_json(self) -> dict[str, Any]:
        """The pair as it is written to a file; keys nobody set are left out."""
        return self.model_dump(mode="json", exclude_unset=True)


class SingleResponse(_Strict):
    """One response with its levels, None where nobody gave any; messages are read as in a pair."""

    id: str = Field(default="", coerce_numbers_to_str=True)
    """Numbers are taken as well."""
    prompt: Text = ""
    response: Text = Field(validation_alias=AliasChoices("response", "completion", "messages"))
    scores: Levels | None = None
    judge: dict[str, Any] | None = None
    """Who gave the levels, and why."""
    metadata: Metadata = Field(
        default_factory=Metadata, validation_alias=AliasChoices("metadata", "meta")
    )

    @model_validator(mode="wrap")
    @classmethod
    def _apart(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        single: Self = _taken_apart(handler(value), "response")
        return single

    @property
    def key(self) -> str:
        """`id`, or a fingerprint of the texts."""
        return self.id or digest([as_text(self.prompt), as_text(self.response)])

    @property
    def group(self) -> str:
        """What splits keep together, as for pairs."""
        known = self.metadata.prompt_id or self.metadata.company
        return known or digest(as_text(self.prompt) or as_text(self.response))


def parse_record(
    model: type[BaseModel],
    value: dict[str, Any],
    *,
    path: Pathish | None = None,
    line: int | None = None,
) -> Any:
    """Validate one object; all its mistakes are in one message.

    Raises:
        UserError: a key is missing, unknown, or holds a value of the wrong kind.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise UserError(*_words(error), path=path, line=line) from None


def _words(error: ValidationError) -> tuple[str]:
    found: list[str] = []
    for item in error.errors(include_url=False):
        # Union branches ("str", "tuple[...]") are pydantic's bookkeeping, not keys of the file.
        where = ".".join(
            str(part) for part in item["loc"] if not any(c in str(part) for c in "[(")
        ).removesuffix(".str")
        value = repr(item["input"])
        value = value if len(value) <= 60 else value[:57] + "..."
        kind = item["type"]
        cause = item.get("ctx", {}).get("error")
        if isinstance(cause, ChatError):
            words = f"{cause.found}{where and ' in ' + where}; expected {cause.expected}"
        elif kind == "missing":
            words = f"no key {where}; expected it on every line"
        elif kind == "extra_forbidden":
            words = f"unknown key {where}; expected only the keys of the record format"
        elif kind in {"int_type", "int_from_float", "int_parsing"} and "." in where:
            words = f"{value} in {where}; expected an integer level or null"
        elif kind in {"string_type", "tuple_type"} and where in TEXT_KEYS:
            words = f"{value} in {where}; expected a text or a list of chat messages"
        else:
            words = f"{value} in {where}; {item['msg'][0].lower()}{item['msg'][1:]}"
        if words not in found:
            found.append(words)
    return ("; also found ".join(found[:5]) + (" ..." if len(found) > 5 else ""),)


def read_pairs(path: Pathish) -> Iterator[Pair]:
    """Yield the pairs of a JSONL file one at a time.

    Raises:
        UserError: naming the file, the line, what was found and what was expected.
    """
    for line in read_jsonl(path):
        yield parse_record(Pair, line.value, path=path, line=line.number)


IGNORE = -100
"""Label of a level nobody gave; the loss leaves it out."""
