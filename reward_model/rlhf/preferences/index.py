"""What `reward-model prefer` reads: completions of prompts, in any of the usual shapes of rows.

`read_index(path, by)` checks the whole file and notes where the rows of each prompt lie;
`index.groups()` then reads one prompt at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reward_model.records import (
    SIDES,
    Pair,
    Scores,
    Text,
    UserError,
    digest,
    parse_json,
    parse_record,
    read_jsonl,
)
from reward_model.rlhf.preferences.pairs import is_chat

By = Literal["model", "reward_model", "scores"]
"""Where rewards come from: a model, the `reward_model` of the rows, or the judge's `scores`."""
KEY = "reward_model"
"""Where `reward-model score` puts a score."""
_TEXTS = ("response", "completion")


class _Single(BaseModel):
    """A prompt with one completion; other columns are the user's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: Text = ""
    response: Text


class _Several(BaseModel):
    """A prompt with its completions; other columns are the user's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    prompt: Text = ""
    completions: tuple[Text, ...]


@dataclass(frozen=True)
class Row:
    """What one line of the file holds."""

    prompt: Text
    completions: tuple[Text, ...]
    known: tuple[Any, ...]
    """The `reward_model` of each completion, None where there is none."""
    prompt_id: str = ""
    pair: Pair | None = None
    """The line as a pair, where it is one."""

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
        return digest(text if isinstance(text, str) else [m.model_dump() for m in text], 24)


@dataclass
class Group:
    """All that the file holds of one prompt."""

    key: str
    rows: list[Row]

    @property
    def prompt(self) -> Text:
        """The prompt."""
        return self.rows[0].prompt

    @property
    def completions(self) -> list[Text]:
        """All completions, in the order of the file."""
        return [text for row in self.rows for text in row.completions]


@dataclass
class Index:
    """Where the rows of every prompt lie in the file."""

    path: Path
    by: By
    chat: bool = False
    neutral: int = 0
    """Neutral pairs, which are left out."""
    rows: int = 0
    completions: int = 0
    places: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """Key of a prompt -> line and byte offset of its rows, prompts in order of appearance."""

    def groups(self) -> Iterator[Group]:
        """Read the rows of one prompt after the other."""
        with self.path.open("rb") as file:
            for key, places in self.places.items():
                rows = []
                for number, offset in places:
                    file.seek(offset)
                    body = file.readline().removeprefix(b"\xef\xbb\xbf")
                    rows.append(parse_row(parse_json(body), path=self.path, line=number))
                yield Group(key, rows)


def read_index(path: Path, *, model: bool) -> Index:
    """Check every row of the file.

    Raises:
        UserError: naming file and line of the first row that cannot be used.
    """
    index: Index | None = None
    for line in read_jsonl(path):
        row = parse_row(line.value, path=path, line=line.number)
        if index is None:
            index = Index(path, _by(row, line.value, model, path), chat=row.chat)
        where: dict[str, Any] = {"path": path, "line": line.number}
        if row.chat != index.chat:
            now, before = ("chat messages", "plain text")[:: 1 if row.chat else -1]
            raise UserError(
                f"{now} after rows of {before}",
                expected="one form in the whole file: a column of a data set has one type",
                **where,
            )
        _check(row, index.by, where)
        index.rows += 1
        if row.neutral:
            index.neutral += 1
            continue
        index.completions += len(row.completions)
        # A judge compared the two sides of one pair, and never two pairs with each other.
        key = f"line:{line.number}" if index.by == "scores" else row.key
        if not key:
            raise UserError(
                "completions without a prompt",
                expected="prompt, or prompt_id to tell which belong together",
                **where,
            )
        index.places.setdefault(key, []).append((line.number, line.offset))
    assert index is not None  # an empty file is an error of read_jsonl
    return index


def parse_row(value: Mapping[str, Any], *, path: Path, line: int) -> Row:
    """One line of the file.

    Raises:
        UserError: neither completions, nor a response, nor a pair.
    """
    where: dict[str, Any] = {"path": path, "line": line}
    rest = {key: kept for key, kept in value.items() if key != KEY}
    known = value.get(KEY)
    if "chosen" in rest or "rejected" in rest:
        pair: Pair = parse_record(Pair, rest, **where)
        stored = known if isinstance(known, dict) else {}
        return Row(
            pair.prompt,
            tuple(pair.side(side) for side in SIDES),
            tuple(stored.get(side) for side in SIDES),
            pair.metadata.prompt_id or "",
            pair,
        )
    metadata = rest.get("metadata")
    prompt_id = rest.get("prompt_id") or (
        metadata.get("prompt_id") if isinstance(metadata, dict) else None
    )
    named = "" if prompt_id is None else str(prompt_id)
    if "completions" in rest:
        texts, inside = _unpacked(rest["completions"], where)
        several: _Several = parse_record(_Several, {**rest, "completions": texts}, **where)
        stored_list = known if isinstance(known, list) else inside
        if len(stored_list) != len(texts):
            raise UserError(
                f"{len(stored_list)} scores in {KEY} for {len(texts)} completions",
                expected="as many scores as completions, in their order",
                **where,
            )
        return Row(several.prompt, several.completions, tuple(stored_list), named)
    name = next((name for name in _TEXTS if name in rest), None)
    if name is None:
        raise UserError(
            f"keys {', '.join(rest) or 'none'}",
            expected="prompt with completions, prompt with response or completion, or a pair with "
            "chosen and rejected",
            **where,
        )
    single: _Single = parse_record(_Single, {**rest, "response": rest[name]}, **where)
    return Row(single.prompt, (single.response,), (known,), named)


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


def _by(row: Row, value: Mapping[str, Any], model: bool, path: Path) -> By:
    if model:
        return "model"
    if any(known is not None for known in row.known):
        return "reward_model"
    if value.get("scores") is not None:
        return "scores"
    raise UserError(
        "neither scores of a judge nor of a model in the first row",
        expected=f"rows with scores or {KEY}, or a model to score them with",
        mend="reward-model prefer MODEL COMPLETIONS --out PREFS",
        path=path,
    )


def _check(row: Row, by: By, where: Mapping[str, Any]) -> None:
    if by == "reward_model" and not row.neutral:
        for known in row.known:
            reward = known.get("reward", ...) if isinstance(known, dict) else ...
            if reward is not None and (isinstance(reward, bool) or not _is_share(reward)):
                raise UserError(
                    f"no score in {KEY}" if reward is ... else f"reward {reward!r} in {KEY}",
                    expected="what reward-model score wrote for every completion",
                    mend="score the file again, or name the model before it",
                    **where,
                )
    if by == "scores" and row.scores is None:
        raise UserError("no scores", expected="scores on every row, as on the first one", **where)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value <= 1


def texts_of(groups: Sequence[Group]) -> tuple[list[Text], list[Text]]:
    """Prompts and completions of several groups, side by side."""
    flat = [(group.prompt, text) for group in groups for text in group.completions]
    return [prompt for prompt, _ in flat], [text for _, text in flat]
