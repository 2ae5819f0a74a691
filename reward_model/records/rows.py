"""One row of a file of texts, in any of the usual shapes: a pair, a response, or completions.

`parse_row(value)` is what score, prefer, judge and training read rows with; the columns of public
data sets are in `forms`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ConfigDict

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
from reward_model.records.chat.messages import ChatError, as_messages, is_chat
from reward_model.records.chat.turns import apart
from reward_model.records.files import Pathish
from reward_model.records.forms import CHATS, Sides, answered, asked, spoken, two_sides

KEY = "reward_model"
"""Where `reward-model score` puts a score: added to a row, and replaced where it is there."""

_TEXTS = ("response", "completion", "messages")
"""The second is the name that trainers give to what a policy wrote; the third is a whole
conversation."""

_PAIR_KEYS = frozenset(Pair.model_fields) | {"meta"}
"""Columns of a pair; others are the user's own, but in what is to be trained on."""
_OBJECTS = ("metadata", "meta", "scores")
"""Columns that are a pair's where they hold an object; other data sets have lists and texts."""


def _of_pair(name: str, row: Mapping[str, Any]) -> bool:
    """Whether a column is the pair's, or would be if spelt right: a text that is missing."""
    if name in _OBJECTS and not isinstance(row[name], Mapping):
        return False
    if name in _PAIR_KEYS:
        return True
    missing = [text for text in ("prompt", *SIDES) if text not in row]
    return bool(get_close_matches(name, missing, n=1, cutoff=0.8))


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
    names: tuple[str, ...] | None = ("",)
    """Columns of the completions, by which their scores are written; one without a name is alone,
    and None is a list of them."""
    tied: bool = False
    """People saw no difference between two responses, or should see none: a neutral control."""
    unread: str = ""
    """What is said of a preference, where it cannot be read."""

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
    pair: Pair = parse_record(Pair, _own(unscored(value)), path=path, line=line)
    return pair


def _own(row: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a pair, and its prompt under whatever name."""
    own = {name: kept for name, kept in row.items() if _of_pair(name, row)}
    if "prompt" not in own and (found := asked(row)) is not None:
        own["prompt"] = found[1]
    return own


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
        several: `completions` come before a `response`; else, beside one, they are a column of the
            user's own.

    Raises:
        UserError: a row of no form that is known, or with something that is no text.

    >>> parse_row({"prompt": "p", "completion": "c"}).completions
    ('c',)
    """
    where: dict[str, Any] = {"path": path, "line": line}
    rest = unscored(value)
    known = value.get(KEY)
    if "chosen" in rest or "rejected" in rest:
        return _pair(rest, known, where, labelled=labelled)
    if labelled:
        return _labelled(rest, known, where)
    if "completions" in rest and (several or not any(name in rest for name in _TEXTS)):
        return _completions(rest, known, where)
    name = next((name for name in _TEXTS if name in rest), None)
    if name is None:
        if (sides := two_sides(rest)) is not None:
            return _two(rest, sides, known, where)
        name = spoken(rest) or answered(rest)
    if name is None:
        raise _unknown(rest, where)
    said = _text(rest, name, where)
    whole = name in CHATS and any(one.role == "user" for one in said if not isinstance(one, str))
    prompt, written = _apart("" if whole else _prompt(rest, where), (said,), where)
    return Row(
        prompt,
        written,
        (known,),
        _prompt_id(rest),
        levels=(rest.get("scores"),),
        spreads=(_spread(rest),),
    )


def _unknown(rest: Mapping[str, Any], where: Mapping[str, Any]) -> UserError:
    return UserError(
        f"keys {', '.join(rest) or 'none'}",
        expected="prompt with completions or response, messages, two responses such as response_a "
        "and response_b, or a pair with chosen and rejected",
        mend="rename the column that holds the text to response; score, prefer and bench can be "
        "told it as well: --columns response=…",
        **where,
    )


def _pair(rest: Mapping[str, Any], known: Any, where: Mapping[str, Any], *, labelled: bool) -> Row:
    own = dict(rest) if labelled else _own(rest)
    pair: Pair = parse_record(Pair, own, **where)
    sides: _Sides = parse_record(_Sides, own, **where)
    prompt, written = _apart(sides.prompt, (sides.chosen, sides.rejected), where)
    return Row(
        prompt,
        written,
        _known_of(known, SIDES),
        pair.metadata.prompt_id or "",
        pair,
        names=SIDES,
        tied=pair.is_neutral,
    )


def _labelled(rest: Mapping[str, Any], known: Any, where: Mapping[str, Any]) -> Row:
    own, chat = dict(rest), spoken(rest)
    if not any(name in own for name in _TEXTS):
        if chat is None:
            raise UserError(
                f"keys {', '.join(rest) or 'none'}",
                expected="rows with levels: prompt with response, or a pair with chosen and "
                "rejected",
                mend="rename the columns, or name them: --columns response=…,levels.NAME=…",
                **where,
            )
        own["response"] = own.pop(chat)
    one: SingleResponse = parse_record(SingleResponse, own, **where)
    return Row(one.prompt, (one.response,), (known,), one.metadata.prompt_id or "", single=one)


def _two(rest: Mapping[str, Any], sides: Sides, known: Any, where: Mapping[str, Any]) -> Row:
    prompt = _prompt(rest, where)
    if sides.better is None:
        prompt, written = _apart(prompt, tuple(_text(rest, n, where) for n in sides.names), where)
        return Row(
            prompt,
            written,
            _known_of(known, sides.names),
            _prompt_id(rest),
            levels=_known_of(rest.get("scores"), sides.names),
            spreads=_known_of(_spread(rest), sides.names),
            names=sides.names,
            tied=sides.tied,
            unread=sides.unread,
        )
    names = sides.names if sides.better == 0 else sides.names[::-1]
    prompt, written = _apart(prompt, tuple(_text(rest, name, where) for name in names), where)
    named = _prompt_id(rest)
    texts = {"prompt": prompt, "chosen": written[0], "rejected": written[1]}
    pair: Pair = parse_record(Pair, {**texts, "metadata": {"prompt_id": named or None}}, **where)
    return Row(
        prompt,
        written,
        _known_of(known, names),
        named,
        pair,
        levels=_known_of(rest.get("scores"), names),
        spreads=_known_of(_spread(rest), names),
        names=names,
    )


def _known_of(known: Any, names: Sequence[str]) -> tuple[Any, ...]:
    return tuple(known.get(name) if isinstance(known, dict) else None for name in names)


def _prompt(rest: Mapping[str, Any], where: Mapping[str, Any]) -> Text:
    if "prompt" in rest:
        return _text(rest, "prompt", where)
    found = asked(rest)
    return "" if found is None else _text({found[0]: found[1]}, found[0], where)


def _text(row: Mapping[str, Any], name: str, where: Mapping[str, Any]) -> Text:
    try:
        words: Any = as_messages(row[name])
    except ChatError as error:
        raise UserError(f"{error.found} in {name}", expected=error.expected, **where) from None
    if isinstance(words, str | tuple):
        return words
    short = repr(words)
    raise UserError(
        f"{short if len(short) <= 60 else short[:57] + '...'} in {name}",
        expected="a text or a list of chat messages",
        **where,
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
    found, inside = _unpacked(row["completions"], where)
    texts = tuple(
        _text({f"completions.{n}": t}, f"completions.{n}", where) for n, t in enumerate(found)
    )
    stored = known if isinstance(known, list) else inside
    if len(stored) != len(texts):
        raise UserError(
            f"{len(stored)} scores in {KEY} for {len(texts)} completions",
            expected="as many scores as completions, in their order",
            **where,
        )
    prompt, written = _apart(_prompt(row, where), texts, where)
    return Row(
        prompt,
        written,
        tuple(stored),
        _prompt_id(row),
        levels=_each(row.get("scores"), len(texts)),
        spreads=_each(_spread(row), len(texts)),
        names=None,
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
