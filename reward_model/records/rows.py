"""One row of a file of texts, in any of the usual shapes: a pair, a response, or completions.

`parse_row(value)` is what score, prefer, judge and training read rows with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from reward_model.records import (
    SIDES,
    Pair,
    Scores,
    SingleResponse,
    Text,
    UserError,
    as_text,
    digest,
    parse_record,
)
from reward_model.records.chat.messages import ChatError, is_chat
from reward_model.records.chat.turns import apart
from reward_model.records.files import Pathish

KEY = "reward_model"
"""Where `reward-model score` puts a score: added to a row, and replaced where it is there."""

_TEXTS = ("response", "completion", "messages")
"""The second is the name that trainers give to what a policy wrote; the third is a whole
conversation."""

_PAIR_KEYS = frozenset(Pair.model_fields) | {"meta"}
"""Columns of a pair; others are the user's own, but in what is to be trained on."""


def _of_pair(name: str, row: Mapping[str, Any]) -> bool:
    """Whether a column is the pair's, or would be if spelt right: a text that is missing."""
    if name in _PAIR_KEYS:
        return True
    missing = [text for text in ("prompt", *SIDES) if text not in row]
    return bool(get_close_matches(name, missing, n=1, cutoff=0.8))


class _Open(BaseModel):
    """Other columns are the user's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: Text = ""


class _Single(_Open):
    response: Text = Field(validation_alias=AliasChoices(*_TEXTS))


class _Several(_Open):
    completions: tuple[Text, ...]


class _Sides(BaseModel):
    """Both sides of a pair as they were written."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    prompt: Text = ""
    chosen: Text
    rejected: Text


@dataclass(frozen=True)
class Row:
    """What one row of the file holds."""

    prompt: Text
    completions: tuple[Text, ...]
    """Both sides of a pair, the response, or all completions, as the policy wrote them: with their
    thoughts and calls of tools. `pair` and `single` have what is judged of them."""
    known: tuple[Any, ...]
    """The `reward_model` of each completion, None where there is none."""
    prompt_id: str = ""
    pair: Pair | None = None
    """The row as a pair, where it is one."""
    levels: tuple[Any, ...] = ()
    """What `scores` says of each completion of a row that is no pair, None where there is none."""
    spreads: tuple[Any, ...] = ()
    """The spread of the draws behind each of them, by dimension, where `judge` has it."""
    single: SingleResponse | None = None
    """The row as a labelled response, where it was read as one."""

    @property
    def neutral(self) -> bool:
        """A control, whose two sides are not a preference."""
        return self.pair is not None and self.pair.is_neutral

    @property
    def scores(self) -> Scores | None:
        """Levels that a judge gave."""
        return self.pair.scores if self.pair else None

    @property
    def chat(self) -> bool:
        """Messages in prompt or completions."""
        return is_chat(self.prompt) or any(map(is_chat, self.completions))

    @property
    def key(self) -> str:
        """Equal for rows of one prompt. `prompt_id` may stand for a company with several prompts,
        so the prompt itself decides wherever there is one.
        """
        if not self.prompt:
            return f"id:{self.prompt_id}" if self.prompt_id else ""
        text = self.prompt
        if not isinstance(text, str):
            return digest([{"role": m.role, "content": m.content} for m in text], 24)
        return digest(text, 24)

    @property
    def group(self) -> str:
        """What is kept together where texts are drawn: a pair's group, else the prompt."""
        if self.pair:
            return self.pair.group
        return digest(as_text(self.prompt) or as_text(self.completions[0]))


def parse_pair(
    value: Mapping[str, Any], *, path: Pathish | None = None, line: int | None = None
) -> Pair:
    """A row that has to be a pair; columns of the user's own are passed over.

    Raises:
        UserError: it is none.

    >>> parse_pair({"chosen": "a", "rejected": "b", "source": "web"}).chosen
    'a'
    """
    if SIDES[0] not in value and SIDES[1] not in value:
        raise UserError(
            f"keys {', '.join(value) or 'none'}",
            expected="a pair with chosen and rejected",
            path=path,
            line=line,
        )
    known = {key: kept for key, kept in value.items() if key != KEY and _of_pair(key, value)}
    pair: Pair = parse_record(Pair, known, path=path, line=line)
    return pair


def parse_row(
    value: Mapping[str, Any],
    *,
    path: Pathish | None = None,
    line: int | None = None,
    labelled: bool = False,
    several: bool = True,
) -> Row:
    """One row of a file.

    Args:
        path: the file, for messages.
        line: its line, for messages.
        labelled: a single response comes with levels, as training reads them; a column that is not
            of the record is a mistake, since it may be a misspelt label.
        several: `completions` are completions; else a column of the user's own like any other.

    Raises:
        UserError: neither completions, nor a response, nor a pair.

    >>> parse_row({"prompt": "p", "completion": "c"}).completions
    ('c',)
    """
    where: dict[str, Any] = {"path": path, "line": line}
    rest = unscored(value)
    known = value.get(KEY)
    if "chosen" in rest or "rejected" in rest:
        known_keys = rest if labelled else {k: v for k, v in rest.items() if _of_pair(k, rest)}
        pair: Pair = parse_record(Pair, known_keys, **where)
        stored = known if isinstance(known, dict) else {}
        sides: _Sides = parse_record(_Sides, rest, **where)
        prompt, written = _apart(sides.prompt, (sides.chosen, sides.rejected), where)
        return Row(
            prompt,
            written,
            tuple(stored.get(side) for side in SIDES),
            pair.metadata.prompt_id or "",
            pair,
        )
    if several and "completions" in rest:
        return _completions(rest, known, where)
    if not any(name in rest for name in _TEXTS):
        raise UserError(
            f"keys {', '.join(rest) or 'none'}",
            expected=("prompt with completions, " if several else "")
            + "prompt with response or completion, or a pair with chosen and rejected",
            mend="rename the column that holds the text to response",
            **where,
        )
    if labelled:
        one: SingleResponse = parse_record(SingleResponse, rest, **where)
        return Row(one.prompt, (one.response,), (known,), one.metadata.prompt_id or "", single=one)
    single: _Single = parse_record(_Single, rest, **where)
    prompt, written = _apart(single.prompt, (single.response,), where)
    return Row(
        prompt,
        written,
        (known,),
        _prompt_id(rest),
        levels=(rest.get("scores"),),
        spreads=(_spread(rest),),
    )


def _spread(row: Mapping[str, Any]) -> Any:
    judge = row.get("judge")
    return judge.get("spread") if isinstance(judge, dict) else None


def _each(value: Any, count: int) -> tuple[Any, ...]:
    """What a list says of each completion; None where it is no list of as many."""
    fits = isinstance(value, list) and len(value) == count
    return tuple(value) if fits else (None,) * count


def _apart(
    prompt: Text, texts: tuple[Text, ...], where: Mapping[str, Any]
) -> tuple[Text, tuple[Text, ...]]:
    try:
        return apart(prompt, *texts)
    except ChatError as error:
        raise UserError(error.found, expected=error.expected, **where) from None


def unscored(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row without scores of ours."""
    return {key: kept for key, kept in row.items() if key != KEY}


def _prompt_id(row: Mapping[str, Any]) -> str:
    metadata = row.get("metadata")
    inside = metadata.get("prompt_id") if isinstance(metadata, dict) else None
    named = row.get("prompt_id") or inside
    return "" if named is None else str(named)


def _completions(row: Mapping[str, Any], known: Any, where: Mapping[str, Any]) -> Row:
    texts, inside = _unpacked(row["completions"], where)
    several: _Several = parse_record(_Several, {**row, "completions": texts}, **where)
    stored = known if isinstance(known, list) else inside
    if len(stored) != len(texts):
        raise UserError(
            f"{len(stored)} scores in {KEY} for {len(texts)} completions",
            expected="as many scores as completions, in their order",
            **where,
        )
    prompt, written = _apart(several.prompt, several.completions, where)
    return Row(
        prompt,
        written,
        tuple(stored),
        _prompt_id(row),
        levels=_each(row.get("scores"), len(texts)),
        spreads=_each(_spread(row), len(texts)),
    )


def _unpacked(completions: Any, where: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    """Texts, and the scores inside of those that are objects: `{"response": ..., ...}`."""
    if not isinstance(completions, list) or not completions:
        raise UserError(
            "no list of texts in completions",
            expected="the completions of the prompt, at least one",
            **where,
        )
    texts: list[Any] = []
    inside: list[Any] = []
    for one in completions:
        name = next((n for n in _TEXTS if n in one), None) if isinstance(one, dict) else None
        texts.append(one[name] if name else one)
        inside.append(one.get(KEY) if name else None)
    return texts, inside
