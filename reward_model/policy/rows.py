"""Rows of any file as what a policy learns from: prompt, answers, group; every row is counted.

`read_rows("pairs.jsonl", "pairs")` gives the rows and, by reason, how many were left out.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from reward_model.data.formats import HELPSTEER, records_of, rubric_of
from reward_model.data.sources import RowSource, find_source
from reward_model.records import Message, Text, UserError, as_text, digest, read_jsonl
from reward_model.records.chat.messages import ChatError
from reward_model.records.chat.turns import apart
from reward_model.records.files import Pathish
from reward_model.records.forms import ANSWERS, CHATS, PROMPTS, answered, asked, spoken, two_sides
from reward_model.records.tables import without_null
from reward_model.records.texts import is_broken, language_of, visible
from reward_model.rlhf.texts import prompt_words
from reward_model.rubrics import load_rubric

Kind = Literal["pairs", "labelled", "answers", "prompts"]
"""Two answers; one with a thumb up or down; one answer; none."""

NEEDS: dict[Kind, str] = {
    "pairs": "chosen and rejected, with prompt or with the prompt's turns in both",
    "labelled": "prompt, completion and label (true or false), or chosen and rejected",
    "answers": "messages, or prompt with completion or response, or chosen",
    "prompts": "prompt, or messages",
}
_CHOSEN, _REJECTED = ("chosen", "chosen_response"), ("rejected", "rejected_response")


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """What a policy learns from one row."""

    prompt: Text
    """Plain, or its turns; empty where the row has none."""
    chosen: str = ""
    """The better answer, or the only one."""
    rejected: str = ""
    label: bool | None = None
    """Thumb up or down, where it has one."""
    group: str = ""
    """What splits and intervals keep together: `prompt_id`, else company, else the prompt."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """Metadata and short columns, for slices: `metadata.bias_type`."""
    line: int = 0

    @property
    def key(self) -> str:
        """Fingerprint of the texts."""
        return digest([as_text(self.prompt), self.chosen, self.rejected, self.label], 16)


@dataclass
class Rows:
    """The rows of a file, and what became of the others."""

    rows: list[PolicyRow]
    read: int
    left_out: Counter[str]
    """Reason -> rows."""

    @property
    def data(self) -> str:
        """Fingerprint of all rows."""
        return digest([row.key for row in self.rows])


def read_rows(place: Pathish, kind: Kind, *, max_rows: int | None = None, seed: int = 0) -> Rows:
    """Read the rows of a file, a folder or a data set of the hub.

    Args:
        place: where they are, in any format that `train` reads.
        kind: what each row has to hold.
        max_rows: draw so many, by seed.
        seed: of the draw.

    Raises:
        UserError: no such file, a row without a column it needs, or nothing left.
    """
    source = find_source(place)
    left: Counter[str] = Counter()
    rows: list[PolicyRow] = []
    rated: dict[str, list[tuple[float, PolicyRow]]] = {}
    read = 0
    for line in read_jsonl(source.path):
        read += 1
        value = without_null(line.value) if source.converted else line.value
        where = {"path": source.shown, "line": line.number}
        for record in _records(value, kind, where):
            row = _row(record, kind, where, left)
            if row is None:
                continue
            rating = _rating(value, record) if kind == "pairs" and not row.rejected else None
            if rating is not None:
                rated.setdefault(row.group, []).append((rating, row))
            else:
                rows.append(row)
    rows += _best_against_worst(rated, left)
    if kind == "prompts":
        unique = {as_text(row.prompt): row for row in reversed(rows)}
        left["prompt that was there before"] += len(rows) - len(unique)
        rows = list(reversed(unique.values()))
    left += Counter()  # no zeros
    if not rows:
        raise _nothing_left(source, read, left)
    if max_rows is not None and len(rows) > max_rows:
        left["beyond --max-rows"] = len(rows) - max_rows
        picked = sorted(random.Random(f"rows:{seed}").sample(range(len(rows)), max_rows))
        rows = [rows[i] for i in picked]
    return Rows(rows, read, left)


def with_instruction(
    rows: Sequence[PolicyRow], instruction: str | None, *, needed: bool = True
) -> list[PolicyRow]:
    """Rows without a prompt get the instruction as theirs; their group stays.

    Args:
        rows: as read.
        instruction: what they answer.
        needed: a chat needs a first turn; plain text does not.

    Raises:
        UserError: rows without a prompt, and no instruction.
    """
    bare = sum(not as_text(row.prompt).strip() for row in rows)
    if bare and needed and not instruction:
        raise UserError(
            f"{bare} of {len(rows)} rows without a prompt",
            expected="something that the policy is asked",
            mend="add what they answer: --instruction 'Write one sentence.'",
        )
    return [
        row if as_text(row.prompt).strip() else replace(row, prompt=instruction or "")
        for row in rows
    ]


def fact(row: PolicyRow, name: str) -> str | None:
    """A fact of a row by its dotted name, for slices; `language` is found out where not given.

    >>> fact(PolicyRow("p", about={"metadata": {"bias_type": "gender"}}), "metadata.bias_type")
    'gender'
    """
    found: Any = row.about
    for part in name.replace("meta.", "metadata.", 1).split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    if found is None and isinstance(row.about.get("metadata"), Mapping):
        found = row.about["metadata"].get(name)
    if found is None and name == "language":
        return language_of(row.chosen or as_text(row.prompt))
    return None if found is None or isinstance(found, Mapping | list) else str(found)


def _records(
    value: Mapping[str, Any], kind: Kind, where: Mapping[str, Any]
) -> Iterator[Mapping[str, Any]]:
    """UltraFeedback's rows hold several answers each; all others are one record."""
    if rubric_of(value) == "ultrafeedback" and kind != "prompts":
        yield from records_of(value, where)
    else:
        yield value


def _row(
    value: Mapping[str, Any], kind: Kind, where: Mapping[str, Any], left: Counter[str]
) -> PolicyRow | None:
    metadata = value.get("metadata", value.get("meta"))
    metadata = metadata if isinstance(metadata, Mapping) else {}
    if metadata.get("kind") == "neutral":
        left["neutral control, which is no preference"] += 1
        return None
    prompt = _prompt(value, where)
    chosen, rejected, label = _answers(value, kind, where)
    sides = [side for side in (chosen, rejected) if side is not None]
    try:
        prompt, written = apart(prompt, *sides)
    except ChatError:
        left["chosen and rejected answer different prompts"] += 1
        return None
    parted = [_split(side) for side in written]
    if len({turns for turns, _ in parted}) > 1:
        left["chosen and rejected answer different prompts"] += 1
        return None
    if parted and parted[0][0]:
        lead = (Message(role="user", content=prompt),) if isinstance(prompt, str) else prompt
        prompt = (*(m for m in lead if m.content), *parted[0][0])
    better, worse = ([said for _, said in parted] + ["", ""])[:2]
    known = metadata.get("prompt_id") or value.get("prompt_id") or metadata.get("company")
    asked = as_text(prompt)
    row = PolicyRow(
        prompt,
        better,
        worse,
        label,
        str(known) if known else digest(asked.strip() or better),
        _about(value, metadata),
        int(where["line"]),
    )
    reason = _unfit(row, kind, rejected is not None)
    if reason:
        left[reason] += 1
        return None
    return row


def _unfit(row: PolicyRow, kind: Kind, pair: bool) -> str | None:
    if kind == "prompts":
        return None if visible(as_text(row.prompt)) else "no prompt"
    if not visible(row.chosen) or (pair and not visible(row.rejected)):
        return "an answer is empty"
    if pair and row.chosen.strip() == row.rejected.strip():
        return "chosen equals rejected"
    if any(map(is_broken, (as_text(row.prompt), row.chosen, row.rejected))):
        return "half of a character"
    return None


def _prompt(value: Mapping[str, Any], where: Mapping[str, Any]) -> Text:
    found = asked(value)
    return "" if found is None else _text(found[1], found[0], where)


def _answers(
    value: Mapping[str, Any], kind: Kind, where: Mapping[str, Any]
) -> tuple[Text | None, Text | None, bool | None]:
    """(chosen or only answer, rejected, label) as they stand in the row."""
    chat = spoken(value)
    if kind == "prompts":
        words = asked(value)
        if chat is not None and not (words and words[1]):
            return _text(value[chat], chat, where, cut=True), None, None
        found = next((n for n in (*_CHOSEN,) if value.get(n) is not None), None)
        if found is None and words is None:
            raise _missing(value, kind, where)
        return (_text(value[found], found, where) if found else None), None, None
    better = next((n for n in _CHOSEN if n in value), None)
    worse = next((n for n in _REJECTED if n in value), None)
    if better and worse and kind != "answers":
        return _text(value[better], better, where), _text(value[worse], worse, where), None
    if (two := two_sides(value)) is not None and (kind != "answers" or two.better is not None):
        if two.better is None and not two.tied:
            raise UserError(
                two.unread or "two responses, and not which is better",
                expected=NEEDS[kind],
                **where,
            )
        sides = [_text(value[n], n, where) for n in two.names]
        better_side = sides[two.better or 0]
        # A tie is no preference; equal sides are left out and counted.
        worse_side = better_side if two.better is None else sides[1 - two.better]
        return better_side, None if kind == "answers" else worse_side, None
    single = answered(value)
    if kind == "answers":
        if chat is not None:
            return _text(value[chat], chat, where), None, None
        name = single or better
        if name is None and isinstance(value.get("text"), str):
            return value["text"], None, None
        if name is None:
            raise _missing(value, kind, where)
        return _text(value[name], name, where), None, None
    if single and kind == "labelled" and "label" in value:
        label = value["label"]
        if label not in (True, False):
            raise UserError(f"{label!r} in label", expected="true or false", **where)
        return _text(value[single], single, where), None, bool(label)
    if single and kind == "pairs" and _levels(value):
        return _text(value[single], single, where), None, None
    raise _missing(value, kind, where)


def _missing(value: Mapping[str, Any], kind: Kind, where: Mapping[str, Any]) -> UserError:
    rated = kind in ("pairs", "labelled") and any(n in value for n in (*ANSWERS, "completions"))
    return UserError(
        f"keys {', '.join(value) or 'none'}",
        expected=NEEDS[kind],
        mend="make preferences of rated or sampled answers with reward-model prefer"
        if rated
        else "rename the columns, or choose the --method that fits them",
        **where,
    )


def _text(value: Any, name: str, where: Mapping[str, Any], *, cut: bool = False) -> Text:
    """A text or chat turns of any of the usual spellings; None is an empty text."""
    if value is None:
        return ""
    try:
        words = prompt_words(value)
    except UserError as error:
        raise UserError(f"{error.found} in {name}", expected=error.expected, **where) from None
    if cut and not isinstance(words, str):  # what is asked: all up to the last turn of a user
        last = max((i for i, m in enumerate(words) if m.role == "user"), default=-1)
        words = words[: last + 1]
    return words


def _split(words: Text) -> tuple[tuple[Message, ...], str]:
    """Turns before the last answer, and that answer."""
    if isinstance(words, str):
        return (), words
    if not words or words[-1].role != "assistant":
        return tuple(words), ""
    return tuple(words[:-1]), words[-1].content


def _about(value: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    texts = {*PROMPTS, *ANSWERS, *_CHOSEN, *_REJECTED, *CHATS, "text"}
    short = {
        name: one
        for name, one in value.items()
        if name not in texts and isinstance(one, str | int | float | bool) and len(str(one)) <= 2000
    }
    return {**short, **({"metadata": dict(metadata)} if metadata else {})}


def _levels(value: Mapping[str, Any]) -> dict[str, float]:
    scores = value.get("scores")
    named = scores if isinstance(scores, Mapping) else {n: value.get(n) for n in HELPSTEER}
    return {n: float(v) for n, v in named.items() if isinstance(v, int | float)}


def _rating(value: Mapping[str, Any], record: Mapping[str, Any]) -> float | None:
    """The weighted mean of a row's levels, by the rubric its format calls for."""
    levels = _levels(record)
    if not levels:
        return None
    name = rubric_of(value) or ("helpsteer" if {*levels} <= {*HELPSTEER} else None)
    weights = load_rubric(name).weights if name else {}
    shares = {n: weights.get(n, 0.0 if name else 1.0) for n in levels}
    total = sum(shares.values())
    return sum(levels[n] * shares[n] for n in levels) / total if total else None


def _best_against_worst(
    rated: Mapping[str, Sequence[tuple[float, PolicyRow]]], left: Counter[str]
) -> list[PolicyRow]:
    rows = []
    for ratings in rated.values():
        best, worst = max(ratings, key=lambda r: r[0]), min(ratings, key=lambda r: r[0])
        if len(ratings) == 1:
            left["the only answer to its prompt"] += 1
        elif best[0] == worst[0] or best[1].chosen.strip() == worst[1].chosen.strip():
            left["answers rated alike"] += len(ratings)
        else:
            left["rated between best and worst"] += len(ratings) - 2
            rows.append(replace(best[1], rejected=worst[1].chosen))
    return rows


def told(left: Mapping[str, int]) -> str:
    """Reasons with their counts, the largest first.

    >>> told({"an answer is empty": 2})
    '2 rows: an answer is empty'
    """
    return "; ".join(
        f"{count:,} row{'s' * (count != 1)}: {reason}"
        for reason, count in sorted(left.items(), key=lambda item: (-item[1], item[0]))
    )


def _nothing_left(source: RowSource, read: int, left: Counter[str]) -> UserError:
    return UserError(
        f"no row to train on among {read:,} ({told(left) or 'the file is empty'})",
        expected="rows that a policy can learn from",
        path=source.shown,
    )
