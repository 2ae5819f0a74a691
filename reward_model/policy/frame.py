"""One frame around prompts and answers, for training, sampling and measuring alike.

Where the tokenizer has a chat template, texts become turns; where it has none, they stay plain and
meet at a line break, so that no token spans prompt and answer. An answer is never cut: the prompt
gives way, its head and tail kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from reward_model.data.tokens.cutting import head_and_tail
from reward_model.policy.rows import Kind, PolicyRow
from reward_model.records import Message, Text, UserError, as_text
from reward_model.records.chat.messages import as_turns
from reward_model.records.errors import first_line

FEWEST = 8
"""Tokens of content that have to be left of a prompt that gives way."""
_BATCH = 512
_CUT = "\n[…]\n"


@dataclass
class Fitted:
    """Rows that fit, and what was done to fit them."""

    rows: list[PolicyRow]
    cut: int
    """Prompts that lost their middle."""
    too_long: int
    """Rows left out, because an answer alone is too long."""
    tokens: int
    """Of prompts and answers together."""


class Frame:
    """How a policy's prompts and answers are written.

    Args:
        tokenizer: of the policy.
        system: what stands in the system turn before every prompt, such as the preference of
            `pref_po`.
    """

    def __init__(self, tokenizer: Any, *, system: str | None = None) -> None:
        self.tokenizer = tokenizer
        self.system = system
        self.chat = bool(tokenizer.chat_template)

    def turns(self, prompt: Text) -> list[dict[str, str]]:
        """A prompt as turns; plain text is the user's."""
        turns = as_turns(prompt)
        if self.system:
            first = turns[:1] if turns and turns[0]["role"] == "system" else []
            said = "\n\n".join([self.system, *(t["content"] for t in first)])
            turns = [{"role": "system", "content": said}, *turns[len(first) :]]
        return turns

    def prompt(self, prompt: Text) -> list[dict[str, str]] | str:
        """What a trainer gets as the prompt."""
        if self.chat:
            return self.turns(prompt)
        text = as_text(prompt)
        if self.system:
            text = f"{self.system}\n\n{text}"
        return f"{text.rstrip()}\n" if text.strip() else ""

    def answer(self, answer: str) -> list[dict[str, str]] | str:
        """What a trainer gets as an answer."""
        return [{"role": "assistant", "content": answer}] if self.chat else answer.lstrip()

    def rendered(self, prompt: Text, answer: str | None = None) -> str:
        """The very text that is tokenised, with the end token where there is an answer.

        Raises:
            UserError: the template of the tokenizer does not take these turns.
        """
        if not self.chat:
            body = self.prompt(prompt)
            assert isinstance(body, str)
            if answer is None:
                return body
            end = str(self.tokenizer.eos_token)
            said = answer.lstrip()
            return body + said + ("" if said.endswith(end) else end)
        turns = self.turns(prompt)
        if answer is not None:
            turns = [*turns, {"role": "assistant", "content": answer}]
        try:
            text: str = self.tokenizer.apply_chat_template(
                turns, tokenize=False, add_generation_prompt=answer is None
            )
        except Exception as error:  # a template raises what it likes
            roles = " ".join(turn["role"] for turn in turns)
            raise UserError(
                f"turns ({roles}) that the chat template does not take ({first_line(error)})",
                expected="turns as the policy's template knows them",
            ) from None
        return text

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of rendered texts."""
        found: list[list[int]] = []
        for start in range(0, len(texts), _BATCH):
            batch = list(texts[start : start + _BATCH])
            # A template writes its own first token; plain text gets the tokenizer's.
            found += self.tokenizer(batch, add_special_tokens=not self.chat)["input_ids"]
        return found

    def prompt_ids(self, prompts: Sequence[Text]) -> list[list[int]]:
        """What a policy reads before it answers."""
        return self.ids([self.rendered(prompt) for prompt in prompts])

    def pair_ids(
        self, prompts: Sequence[Text], answers: Sequence[str]
    ) -> list[tuple[list[int], list[int]]]:
        """(prompt, answer) as ids, where the answer begins where the two texts part, as in TRL."""
        asked = self.prompt_ids(prompts)
        whole = self.ids([self.rendered(p, a) for p, a in zip(prompts, answers, strict=True)])
        return [_parted(p, w) for p, w in zip(asked, whole, strict=True)]

    def fit(self, rows: Sequence[PolicyRow], max_length: int, *, room: int = 0) -> Fitted:
        """Rows of at most `max_length` tokens, `room` of them kept free for an answer to come."""
        kept: list[PolicyRow] = []
        cut = too_long = tokens = 0
        limit = max_length - room
        asked = self.prompt_ids([row.prompt for row in rows])
        sides: list[list[list[int]]] = []
        for side in ("chosen", "rejected"):
            texts = [None if room else self._side(row, side) for row in rows]
            sides.append(self.ids([t for t in texts if t is not None]))
        at = [0, 0]
        for row, prompt in zip(rows, asked, strict=True):
            whole = []
            for n, text in enumerate((row.chosen, row.rejected)):
                if text and not room:
                    whole.append(sides[n][at[n]])
                    at[n] += 1
            longest = max((len(w) for w in whole), default=len(prompt))
            longest = max(longest, len(prompt))
            if longest <= limit:
                kept.append(row)
                tokens += sum(map(len, whole)) or len(prompt)
                continue
            shorter = self._shortened(row, longest, limit, whole=bool(whole))
            if shorter is None:
                too_long += 1
                continue
            cut += 1
            tokens += limit * max(1, len(whole))
            kept.append(shorter)
        return Fitted(kept, cut, too_long, tokens)

    def _side(self, row: PolicyRow, side: str) -> str | None:
        text = getattr(row, side)
        return self.rendered(row.prompt, text) if text else None

    def _shortened(
        self, row: PolicyRow, longest: int, limit: int, *, whole: bool
    ) -> PolicyRow | None:
        """The row with the middle of its longest turn left out until it fits."""
        turns: list[Message] = (
            [Message(role="user", content=row.prompt)]
            if isinstance(row.prompt, str)
            else list(row.prompt)
        )
        if not turns:
            return None
        place = max(range(len(turns)), key=lambda i: len(turns[i].content))
        content = turns[place].content
        encode = self._encode
        budget = len(encode(content)) - (longest - limit) - 4
        for _ in range(6):
            if budget < FEWEST:
                return None
            said = self._head_and_tail(encode, content, budget)
            turns[place] = Message(role=turns[place].role, content=said)
            prompt: Text = said if isinstance(row.prompt, str) else tuple(turns)
            new = replace(row, prompt=prompt)
            answers = [t for t in (row.chosen, row.rejected) if t] if whole else []
            texts = [self.rendered(prompt, a) for a in answers] or [self.rendered(prompt)]
            over = max(map(len, self.ids(texts))) - limit
            if over <= 0:
                return new
            budget -= over + 2
        return None

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _head_and_tail(self, encode: Callable[[str], list[int]], text: str, budget: int) -> str:
        ids, was_cut = head_and_tail(encode, text, budget)
        if not was_cut:
            return text
        end = budget // 2
        halves = [ids[: budget - end], ids[budget - end :]]
        head, tail = (
            self.tokenizer.decode(half, skip_special_tokens=True).strip("\ufffd") for half in halves
        )
        return f"{head.rstrip()}{_CUT}{tail.lstrip()}"

    def columns(self, rows: Sequence[PolicyRow], kind: Kind) -> dict[str, list[Any]]:
        """Rows as TRL's columns of their kind."""
        out: dict[str, list[Any]] = {"prompt": [self.prompt(row.prompt) for row in rows]}
        if kind == "pairs":
            out["chosen"] = [self.answer(row.chosen) for row in rows]
            out["rejected"] = [self.answer(row.rejected) for row in rows]
        elif kind == "answers":
            out["completion"] = [self.answer(row.chosen) for row in rows]
        elif kind == "labelled":
            out["completion"] = [self.answer(row.chosen) for row in rows]
            out["label"] = [row.label for row in rows]
        return out


def unpaired(rows: Sequence[PolicyRow]) -> list[PolicyRow]:
    """Pairs as rows with a thumb up and rows with a thumb down."""
    out = []
    for row in rows:
        if row.rejected:
            out += [
                replace(row, rejected="", label=True),
                replace(row, chosen=row.rejected, rejected="", label=False),
            ]
        else:
            out.append(row)
    return out


def _parted(prompt: list[int], whole: list[int]) -> tuple[list[int], list[int]]:
    length = 0
    for one, other in zip(prompt, whole, strict=False):
        if one != other:
            break
        length += 1
    return whole[:length], whole[length:]
