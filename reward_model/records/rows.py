"""One line of a file with completions of prompts, in any of the usual shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from reward_model.records import SIDES, Pair, Scores, Text, UserError, digest, parse_record
from reward_model.records.schema import is_chat

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
