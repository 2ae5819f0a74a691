"""From prompt and response to token ids: the one way in, for training, evaluation and scoring.

`InputBuilder(tokenizer, max_length)` then `builder.build(prompts, responses)` and
`collate(encoded)`; the response comes first in priority, the prompt gives way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from reward_model.data.tokens.cutting import head_and_tail, read_whole
from reward_model.data.tokens.wrapping import (
    TODAY,
    InputFormat,
    Parts,
    Wrapping,
    detect_format,
    prints_date,
)
from reward_model.records import Text, UserError, as_text

Evidence = Literal["none", "checks"]
AT_ONCE = 500_000
"""Characters that the tokenizer is given in one call: enough for all cores, little memory."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One text ready for the model."""

    input_ids: list[int]
    token_type_ids: list[int] | None
    """None for tokenizers that do not tell prompt from response."""
    prompt_cut: bool
    """The middle of the prompt was left out."""
    response_cut: bool
    """The response alone was too long, so its middle was left out."""
    answer_tokens: int = 0
    """Tokens of the response that are left, without evidence and format."""


class InputBuilder:
    """Joins prompt, evidence and response into at most `max_length` tokens.

    Args:
        tokenizer: any Hugging Face tokenizer.
        max_length: tokens of everything together.
        max_prompt_length: most tokens of the prompt; 0 leaves it out.
        evidence: `checks` puts what was verified in the response right before it, where it is
            never cut.
        input_format: `pair` (encoders), `chat` (the tokenizer's chat template) or `plain`;
            found out from the tokenizer if not given.
        template_date: what a chat template prints that prints the date of the day, as YYYY-MM-DD;
            a fixed one if not given, so that a score is the same tomorrow.
    """

    def __init__(
        self,
        tokenizer: Any,
        max_length: int,
        *,
        max_prompt_length: int | None = None,
        evidence: Evidence = "none",
        input_format: InputFormat | None = None,
        template_date: str | None = None,
    ) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.max_prompt_length = max_prompt_length
        self.evidence = evidence
        self.input_format: InputFormat = input_format or detect_format(tokenizer)
        today = template_date or TODAY
        dated = self.input_format == "chat" and prints_date(tokenizer)
        self.template_date: str | None = today if dated else None
        """None where the template prints none."""
        self._wrapping = Wrapping(tokenizer, self.input_format, today)
        self._gap = self._ids("\n")
        least = self._wrapping.overhead + (32 if evidence == "none" else 64)
        if max_length < least:
            raise UserError(
                f"max_length {max_length}",
                expected=f"at least {least}: {self._wrapping.overhead} tokens go to the format",
                mend="pass a larger --max-length",
            )

    @property
    def settings(self) -> dict[str, Any]:
        """What token ids follow from, beside the tokenizer."""
        return {
            "max_length": self.max_length,
            "max_prompt_length": self.max_prompt_length,
            "evidence": self.evidence,
            "input_format": self.input_format,
            **({"template_date": self.template_date} if self.template_date else {}),
        }

    def build(
        self,
        prompts: Sequence[Text],
        responses: Sequence[Text],
        found: Sequence[str | None] | None = None,
    ) -> list[Encoded]:
        """Encode texts in order; each result depends on its own text alone, as `one` gives it.

        Args:
            prompts: what was asked.
            responses: what is judged.
            found: the evidence of the checks in each, where it is known.
        """
        given = [None] * len(prompts) if found is None else found
        encoded = []
        for some in _parts(list(zip(prompts, responses, given, strict=True))):
            around = [self._wrapping.around(prompt) for prompt, _, _ in some]
            known = self._together(around, [response for _, response, _ in some])

            def ids(text: str, known: dict[str, list[int]] = known) -> list[int]:
                return known[text] if text in known else self._ids(text)

            encoded += [
                self._encoded(wrapped, *one, ids) for wrapped, one in zip(around, some, strict=True)
            ]
        return encoded

    def one(self, prompt: Text, response: Text, found: str | None = None) -> Encoded:
        """Encode one text.

        Args:
            prompt: what was asked.
            response: what is judged.
            found: the evidence of the checks, where it is known.
        """
        return self._encoded(self._wrapping.around(prompt), prompt, response, found, self._ids)

    def response_ids(self, encoded: Encoded) -> list[int]:
        """Token ids of the response alone, as far as it is read."""
        end = len(encoded.input_ids) - len(self._wrapping.alone.after)
        return encoded.input_ids[end - encoded.answer_tokens : end]

    def _encoded(
        self,
        wrapped: Parts | None,
        prompt: Text,
        response: Text,
        found: str | None,
        ids: Callable[[str], list[int]],
    ) -> Encoded:
        evidence = self._evidence_ids(prompt, response, found)
        room = self.max_length - len(evidence)
        answer, response_cut = head_and_tail(ids, as_text(response), room - self._wrapping.overhead)
        left = room - len(answer) - (wrapped.overhead if wrapped else 0)
        if self.max_prompt_length is not None:
            left = min(left, self.max_prompt_length)
        if wrapped is None or left <= 0:
            # No room, or nothing to show: the response stands alone, as where there is no prompt.
            # A prompt that was not asked for is not a cut one.
            cut = wrapped is not None and self.max_prompt_length != 0
            return self._joined(None, [], evidence, answer, cut, response_cut)
        asked, prompt_cut = wrapped.prompt_ids(ids, left)
        return self._joined(wrapped, asked, evidence, answer, prompt_cut, response_cut)

    def _together(
        self, around: Sequence[Parts | None], responses: Sequence[Text]
    ) -> dict[str, list[int]]:
        """Token ids of what is read whole, each text once, in one call of the tokenizer."""
        asked = self.max_length if self.max_prompt_length is None else self.max_prompt_length
        whole: dict[str, None] = {}
        for wrapped in around if asked else ():
            for part in wrapped.asked if wrapped else ():
                if isinstance(part, str) and read_whole(part, min(asked, self.max_length)):
                    whole[part] = None
        for response in responses:
            answer = as_text(response)
            if read_whole(answer, self.max_length):
                whole[answer] = None
        return dict(zip(whole, many_plain_ids(self.tokenizer, list(whole)), strict=True))

    def _joined(
        self,
        wrapped: Parts | None,
        asked: list[int],
        evidence: list[int],
        answer: list[int],
        prompt_cut: bool,
        response_cut: bool,
    ) -> Encoded:
        parts = wrapped or self._wrapping.alone
        ids = [*parts.before, *asked, *parts.between, *evidence, *answer, *parts.after]
        types = None
        if self._wrapping.has_types:
            first = len(parts.before) + len(asked) + parts.first_types
            types = [0] * len(ids) if wrapped is None else [0] * first + [1] * (len(ids) - first)
        return Encoded(ids, types, prompt_cut, response_cut, len(answer))

    def _evidence_ids(self, prompt: Text, response: Text, found: str | None) -> list[int]:
        if self.evidence == "none":
            return []
        if found is None:
            from reward_model.checks import evidence

            found = evidence(as_text(prompt), as_text(response))
        ids = self._ids(found)
        # Evidence is short by contract; the bound keeps the response in the majority regardless.
        ids = ids[: self.max_length // 4]
        return [*ids, *self._gap] if ids else []

    def _ids(self, text: str) -> list[int]:
        """Text as data: no special token of the model can be written into it."""
        return plain_ids(self.tokenizer, text)


_Given = tuple[Text, Text, str | None]
"""Prompt, response, and evidence where it is known."""


def _parts(texts: list[_Given]) -> Iterator[list[_Given]]:
    """Texts in order, in parts of some `AT_ONCE` characters."""
    part: list[_Given] = []
    size = 0
    for text in texts:
        part.append(text)
        size += sum(len(as_text(words)) for words in text[:2])
        if size >= AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def plain_ids(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text, without specials and without recognising any inside it."""
    return many_plain_ids(tokenizer, [text])[0]


def many_plain_ids(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    """`plain_ids` of each text, by all cores where the tokenizer is a fast one."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(
        texts,
        add_special_tokens=False,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
        verbose=False,
    )["input_ids"]
    return ids
