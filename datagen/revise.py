"""`datagen revise`: drafts, criticised by a principle and revised, as pairs of revision and draft.

After the supervised half of Constitutional AI (Bai et al. 2022, arXiv:2212.08073), with the
revision kept beside the draft as a preference. `judge score` then judges both sides blind, and
`prefer` keeps the pairs where the judge agrees.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datagen import acceptance
from datagen.job import Work, carry_out, check_place
from datagen.making import NotMade, accepted, model_of
from datagen.settings import RevisionSettings
from reward_model.llm import (
    LLM,
    Caller,
    ChatMessage,
    Reply,
    Request,
    fence,
    fill,
    prompt_file,
    split_model,
)
from reward_model.llm.pending import Pending
from reward_model.llm.prompts import neutralised
from reward_model.records import Pair, Text, UserError, as_text, digest
from reward_model.records.rows import parse_row
from reward_model.records.tables import is_table, read_rows, told_of, without_null
from reward_model.records.terminal import console
from reward_model.rubrics import Dimension, Rubric, load_rubric, say

MIN_CHARS = 2
LENGTH_RATIO = (0.2, 5.0)
"""Accepted length of a revision relative to its draft: a refusal may grow into an answer."""
NO_FAULT = re.compile(r"\W*(?:no faults?|没有缺点|无缺点)\W*", re.I)
COPIED_WORDS, COPIED_HAN = 10, 20
"""So many words, or Chinese characters, of a critique in a row are no coincidence."""


@dataclass(frozen=True)
class Draft:
    """A draft to be revised by a principle."""

    number: int
    prompt: Text
    text: str
    language: str
    principle: Dimension
    model: int
    """Place of the model that criticises and revises."""
    about: dict[str, Any]
    """Metadata of the draft's row, and its id."""

    @property
    def id(self) -> str:
        """Its number and a fingerprint of its texts and principle."""
        return f"{self.number:05d}-{digest([as_text(self.prompt), self.text, self.principle.name])}"


def make_revisions(
    drafts: Path,
    settings: RevisionSettings,
    out: Path,
    *,
    llms: list[LLM] | None = None,
) -> None:
    """Revise every draft of a file, or go on with it.

    Args:
        drafts: JSON Lines with `prompt` and `response`, `completion` or `completions`.
        llms: models that stand for those that the settings name, one for each.

    Raises:
        UserError: wrong input, or `out` was made with other options.
        Stopped: pairs are owed to another run.
    """
    check_place(settings, out, drafts, settings.constitution)
    for name in settings.llm:
        if split_model(name)[0] == "offline":
            raise UserError(
                "--llm offline",
                expected="a language model: the embedded writer can only write and edit reports",
                mend="name one: openai:MODEL, dashscope:MODEL",
            )
    rubric = load_rubric(settings.constitution)
    principles = _principles(rubric, settings.principles)
    items = read_drafts(drafts, settings, principles)
    console().print(
        f"{len(items):,} drafts, principles {', '.join(p.name for p in principles)}", markup=False
    )
    made_with = {
        "settings": settings.model_dump(mode="json"),
        "constitution": rubric.id,
        "drafts": digest([item.id for item in items]),
    }
    work = Work(items, made_with, lambda by, llms: RevisionMaker(by, llms, settings, rubric))
    carry_out(settings, out, work, llms)


def read_drafts(
    path: Path, settings: RevisionSettings, principles: Sequence[Dimension]
) -> list[Draft]:
    """Every completion of a file as a draft, each with a principle and a model drawn by the seed.

    Raises:
        UserError: a row is no prompt with completions, or nothing is in the file.
    """
    items: list[Draft] = []
    for line in read_rows(path):
        value = without_null(line.value) if is_table(path) else line.value
        with told_of(path, line.number):
            for prompt, text, kept in _drafts_of(value):
                number = len(items)
                draw = int(digest(f"{settings.seed}:{number}:{as_text(prompt)}", 7), 16)
                items.append(
                    Draft(
                        number,
                        prompt,
                        text,
                        acceptance.spoken(text),
                        principles[draw % len(principles)],
                        number % len(settings.llm),
                        kept,
                    )
                )
    return items


def _drafts_of(value: dict[str, Any]) -> Iterator[tuple[Text, str, dict[str, Any]]]:
    """Prompt, text and metadata of every completion of a row."""
    row = parse_row(value)
    if row.pair is not None or not as_text(row.prompt).strip():
        raise UserError(
            "a pair" if row.pair is not None else "a row without prompt",
            expected="prompt with response, completion or completions",
        )
    metadata = value.get("metadata")
    kept = dict(metadata) if isinstance(metadata, dict) else {}
    if value.get("id") is not None:
        kept["draft_id"] = str(value["id"])
    for completion in row.completions:
        text = as_text(completion).strip()
        if not text:
            raise UserError("an empty response", expected="a draft")
        yield row.prompt, text, {**kept, "prompt_id": row.prompt_id or row.key}


def _principles(rubric: Rubric, named: Sequence[str]) -> list[Dimension]:
    if named:
        unknown = [name for name in named if name not in rubric.names]
        if unknown:
            raise UserError(
                f"principle {', '.join(unknown)}", expected=f"some of {', '.join(rubric.names)}"
            )
        return [rubric.dimension(name) for name in named]
    return [dimension for dimension in rubric.dimensions if dimension.weight > 0]


class RevisionMaker:
    """Makes the pairs of one data set of revisions."""

    def __init__(
        self,
        caller: Caller | Pending,
        llms: Sequence[LLM],
        settings: RevisionSettings,
        rubric: Rubric,
    ) -> None:
        self.caller, self.llms, self.settings, self.rubric = caller, llms, settings, rubric

    async def make(self, draft: Draft) -> dict[str, Any]:
        """The record of a pair.

        Raises:
            NotMade: with the reason, to be counted; a draft without fault is one.
        """
        llm = self.llms[draft.model]
        critique, critique_call, _ = await self._ask(llm, draft, "critique")
        if NO_FAULT.fullmatch(critique):
            raise NotMade(f"no fault by {draft.principle.name}", owed=False)
        revised, call, reply = await self._ask(llm, draft, "revise", critique)
        about = {
            "model": model_of(llm, reply),
            "temperature": reply.sent(self.settings.temperature),
            "call": call,
            "critique_call": critique_call,
        }
        row = {
            "id": draft.id,
            "prompt": draft.prompt
            if isinstance(draft.prompt, str)
            else [message.model_dump() for message in draft.prompt],
            "chosen": revised,
            "rejected": draft.text,
            "metadata": {
                **draft.about,
                "language": draft.language,
                "kind": "revised",
                "principle": draft.principle.name,
                "rubric": self.rubric.id,
                "seed": self.settings.seed,
                "gold_metadata": about,
            },
        }
        Pair.model_validate(row)
        return row

    async def _ask(
        self, llm: LLM, draft: Draft, what: str, critique: str = ""
    ) -> tuple[str, str, Reply]:
        """An accepted reply, its call, and the reply as it came; asked anew when it is not."""

        def request(sample: int) -> Request:
            return self._request(draft, what, sample, critique)

        def problem(reply: Reply) -> str | None:
            return self._problem(reply, acceptance.clean(reply.text), draft, critique)

        answer = await accepted(self.caller, llm, request, problem, self.settings.retries)
        return acceptance.clean(answer.reply.text), answer.call, answer.reply

    def _problem(self, reply: Reply, text: str, draft: Draft, critique: str) -> str | None:
        if not critique:  # the critique itself: any words do
            if reply.finish_reason == "length":
                return "truncated"
            return None if text else "empty"
        names = tuple(name for name in self.rubric.names if "_" in name)
        found = acceptance.problem(
            reply,
            draft.language,
            original=draft.text,
            length_ratio=LENGTH_RATIO,
            names=names,
            min_chars=MIN_CHARS,
        )
        if found is None and copied(critique, text, draft.text + "\n" + as_text(draft.prompt)):
            return "critique leaked"
        return found

    def _request(self, draft: Draft, what: str, sample: int, critique: str) -> Request:
        language, principle = draft.language, draft.principle
        given = {
            "title": say(principle.title, language),
            "principle": say(principle.description, language),
            "settings": fence("task", what),
            "request": fence("request", neutralised(as_text(draft.prompt))),
            "draft": fence("draft", neutralised(draft.text)),
        }
        if critique:
            given["critique"] = fence("critique", neutralised(critique))
        text = fill(prompt_file("datagen", what, language), **given)
        seed = f"{self.settings.seed}:{draft.id}:{what}" + (f":{sample}" if sample else "")
        return Request(
            messages=(ChatMessage(role="user", content=text),),
            temperature=self.settings.temperature,
            max_tokens=self.settings.max_tokens,
            seed=int(digest(seed, 7), 16),
            sample=sample,
            **self.settings.asked(),
        )


def copied(critique: str, text: str, known: str) -> bool:
    """Whether a stretch of a critique stands in a text, and not because all knew it before.

    >>> words = "the answer never says how sure it is about the cause of the fall in margins"
    >>> copied(words, f"As noted, {words}.", "margins fell"), copied(words, "Margins fell.", "")
    (True, False)
    """
    marks, size = _marks(critique), COPIED_WORDS
    if acceptance.spoken(critique) == "zh":
        marks, size = re.findall(r"[\u4e00-\u9fff]", critique), COPIED_HAN
    glue = "" if size == COPIED_HAN else " "
    folded, before = (
        glue.join(re.findall(r"[\u4e00-\u9fff]", t) if not glue else _marks(t))
        for t in (text, known)
    )
    stretches = (glue.join(marks[at : at + size]) for at in range(len(marks) - size + 1))
    return any(stretch in folded and stretch not in before for stretch in stretches)


def _marks(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())
