"""One question to one judge: build the messages, call, read the reply, ask again if it cannot be
read. Everything `judge score` sends goes through `Asker.ask`, which sees texts only.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict

from judge.scoring.expectation import ALTERNATIVES, expected_levels
from judge.scoring.parse import Cause, Verdicts, parse_comparison, parse_reply, unanswered
from judge.scoring.prompt import (
    TEXT_NAMES,
    Language,
    Reasoning,
    compare_messages,
    judge_messages,
    reply_schema,
    text_language,
)
from judge.settings import ScoreSettings
from reward_model.checks import findings
from reward_model.llm import LLM, Caller, ChatMessage, Reply, Request, UnansweredError
from reward_model.llm.known import Known
from reward_model.llm.pending import Pending
from reward_model.records.chat.turns import judged
from reward_model.records.texts import visible
from reward_model.rubrics import Rubric

CHECKED = frozenset({"accuracy", "correctness"})
"""Dimensions to which findings on figures are evidence."""


class _Options(TypedDict):
    language: Language
    reasoning: Reasoning
    evidence: str | None
    max_prompt_chars: int


class Asked(NamedTuple):
    """What one question brought."""

    verdicts: tuple[Verdicts, ...]
    """For each text asked about, in their order."""
    returned: str | None = None
    """Model name as the server gave it; None without a reply."""
    final: bool = False
    """The answer is in the ledger, so asking again costs nothing."""
    expected: dict[str, float] | None = None
    """Expected levels, where the settings ask for them and the reply allows them."""
    temperature: float | None = None
    """What was really sent; None where the model takes none."""
    waiting: bool = False
    """The question goes into the next batch."""


def answers(report: str) -> bool:
    """Whether there is anything to judge: no call is made about a text that is empty or ends within
    its thought.

    >>> answers("Margins fell."), answers("<think>hm"), answers(" \u200b")
    (True, False, False)
    """
    return judged("", report).reason is None and visible(report)


class Asker:
    """Asks judges for levels of texts.

    Args:
        caller: makes the calls and keeps the ledger.
        settings: how to ask.
        rubric: what is graded.
    """

    def __init__(
        self, caller: Caller | Pending | Known, settings: ScoreSettings, rubric: Rubric
    ) -> None:
        self.caller, self.settings, self.rubric = caller, settings, rubric

    async def ask(
        self,
        llm: LLM,
        prompt: str,
        reports: tuple[str, ...],
        dimensions: tuple[str, ...],
        sample: int,
    ) -> Asked:
        """Levels of one text, or of two side by side, in one draw.

        Raises:
            FatalError: no call to this model can work.
            Stopped: the budget is used up.
        """
        settings = self.settings
        if not all(map(answers, reports)):
            return Asked((unanswered(dimensions, "no_answer"),) * len(reports), final=True)
        messages = messages_of(settings, self.rubric, prompt, reports, dimensions)
        schema = reply_schema(self.rubric, dimensions, settings.reasoning, texts=len(reports))
        asked = Asked((unanswered(dimensions, "failed"),) * len(reports))
        for attempt in range(settings.retries + 1):
            draw = sample + attempt * settings.samples
            request = Request(
                messages=messages,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=settings.seed + draw,
                json_schema=schema,
                top_logprobs=ALTERNATIVES if settings.expectation else None,
                sample=draw,
                **settings.asked(),
            )
            try:
                reply = (await self.caller.complete(llm, request)).reply
            except UnansweredError as error:
                cause: Cause = "refused" if error.reason == "refused" else "failed"
                waiting = error.reason == "waiting"
                return Asked((unanswered(dimensions, cause),) * len(reports), waiting=waiting)
            asked = self._read(reply, dimensions, len(reports))
            asked = asked._replace(temperature=reply.sent(settings.temperature))
            if all(verdicts.whole for verdicts in asked.verdicts):
                break
        return asked

    def _read(self, reply: Reply, dimensions: tuple[str, ...], texts: int) -> Asked:
        scale, reason = self.rubric.scale, reply.finish_reason
        if texts > 1:
            verdicts = parse_comparison(
                reply.text, dimensions, scale=scale, names=TEXT_NAMES, finish_reason=reason
            )
            return Asked(verdicts, reply.model, True)
        one = parse_reply(reply.text, dimensions, scale=scale, finish_reason=reason)
        expected = None
        if self.settings.expectation and one.whole:
            expected = expected_levels(reply, dimensions, scale=scale)
        return Asked((one,), reply.model, True, expected)


def messages_of(
    settings: ScoreSettings,
    rubric: Rubric,
    prompt: str,
    reports: tuple[str, ...],
    dimensions: tuple[str, ...],
) -> tuple[ChatMessage, ...]:
    """What a judge is shown to grade one text, or two side by side."""
    language: Language = (
        text_language("\n".join(reports).strip() or prompt)
        if settings.language == "auto"
        else settings.language
    )
    evidence = None
    if settings.evidence == "checks" and not CHECKED.isdisjoint(dimensions):
        found = ["\n".join(findings(prompt, report)) or "-" for report in reports]
        evidence = found[0]
        if len(reports) > 1:
            named = zip(TEXT_NAMES, found, strict=True)
            evidence = "\n\n".join(f"{name}:\n{lines}" for name, lines in named)
    options: _Options = {
        "language": language,
        "reasoning": settings.reasoning,
        "evidence": evidence,
        "max_prompt_chars": settings.max_prompt_chars,
    }
    if len(reports) == 1:
        return judge_messages(prompt, reports[0], rubric, dimensions, **options)
    first, second = reports
    return compare_messages(prompt, first, second, rubric, dimensions, **options)
