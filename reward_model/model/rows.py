"""How one row of tokens divides into texts that stand side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from reward_model.data.tokens.inputs import Encoded


class TokenRun(NamedTuple):
    """Neighbours of one length, which attend each to itself and to what they begin with."""

    start: int
    texts: int
    length: int
    prefix: int
    """Where the shared beginning stands in the row."""
    prefix_length: int
    """Its tokens; 0 where there is none."""


@dataclass
class TokenRow:
    """Several texts in one row of tokens."""

    first: int
    """Position of a text's first token; what `enable` returned."""
    window: int | None = None
    """Longer texts are read in windows of at most so many tokens."""
    ids: list[int] = field(default_factory=list)
    types: list[int] = field(default_factory=list)
    """Empty where the tokenizer does not tell prompt from response."""
    positions: list[int] = field(default_factory=list)
    runs: list[TokenRun] = field(default_factory=list)
    pieces: list[list[tuple[int, int]]] = field(default_factory=list)
    """Start and length of what each text consists of: windows, or a shared beginning and a rest."""
    answers: list[int] = field(default_factory=list)
    """Tokens of the response of each text."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What layers of one forward pass have in common."""

    @property
    def lengths(self) -> list[int]:
        """Tokens of each part that attends to itself alone, in order."""
        return [run.length for run in self.runs for _ in range(run.texts)]

    @property
    def shares(self) -> bool:
        """Some parts attend to a beginning that they share, too."""
        return any(run.prefix_length for run in self.runs)

    def add(self, text: Encoded) -> None:
        """Append a text of its own, in windows of even length where it is longer than one."""
        length = len(text.input_ids)
        count = -(-length // self.window) if self.window else 1
        each = -(-length // count)
        pieces = []
        for start in range(0, length, each):
            pieces.append(self._tokens(text, start, min(start + each, length), 0, 0, restart=True))
        self.pieces.append(pieces)
        self.answers.append(text.answer_tokens)

    def add_shared(self, texts: Sequence[Encoded], prefix: int) -> None:
        """Append texts that have their first `prefix` tokens in common, and more each."""
        first = self._tokens(texts[0], 0, prefix, 0, 0)
        for text in texts:
            rest = self._tokens(text, prefix, len(text.input_ids), *first)
            self.pieces.append([first, rest])
            self.answers.append(text.answer_tokens)

    def tensors(self, device: torch.device | str = "cpu") -> dict[str, Tensor]:
        """(1, T) `input_ids`, and `token_type_ids` where the tokenizer has any."""
        found = {"input_ids": torch.tensor([self.ids], dtype=torch.long, device=device)}
        if self.types:
            found["token_type_ids"] = torch.tensor([self.types], dtype=torch.long, device=device)
        return found

    def _tokens(
        self,
        text: Encoded,
        begin: int,
        end: int,
        prefix: int,
        prefix_length: int,
        *,
        restart: bool = False,
    ) -> tuple[int, int]:
        start, length = len(self.ids), end - begin
        self.ids += text.input_ids[begin:end]
        if text.token_type_ids is not None:
            self.types += text.token_type_ids[begin:end]
        at = self.first if restart else self.first + begin
        self.positions += range(at, at + length)
        run = TokenRun(start, 1, length, prefix, prefix_length)
        last = self.runs[-1] if self.runs else None
        if last and not prefix_length and not last.prefix_length and last.length == length:
            self.runs[-1] = last._replace(texts=last.texts + 1)
        else:
            self.runs.append(run)
        return start, length
