"""One question to one judge: build the messages, call, read the reply, ask again if it cannot be
read. Everything `judge score` sends goes through `Asker.ask`, which sees texts only.
"""

from __future__ import annotations

from typing import NamedTuple

from judge.parse import Verdicts, parse_reply, unanswered
from judge.prompt import judge_messages, reply_schema, text_language
from judge.settings import ScoreSettings
from reward_model.llm import LLM, Caller, Request, UnansweredError
from reward_model.rubric import Rubric

CHECKED = frozenset({"accuracy", "correctness"})
"""Dimensions to which findings on figures are evidence."""


class Asked(NamedTuple):
    """What one question brought."""

    verdicts: Verdicts
    returned: str | None
    """Model name as the server gave it; None without a reply."""
    final: bool
    """The answer is in the ledger, so asking again costs nothing."""


class Asker:
    """Asks judges for levels of texts.

    Args:
        caller: makes the calls and keeps the ledger.
        settings: how to ask.
        rubric: what is graded.
    """

    def __init__(self, caller: Caller, settings: ScoreSettings, rubric: Rubric) -> None:
        self.caller, self.settings, self.rubric = caller, settings, rubric

    async def ask(
        self, llm: LLM, prompt: str, report: str, dimensions: tuple[str, ...], sample: int
    ) -> Asked:
        """Levels of one text, in one draw.

        Raises:
            FatalError: no call to this model can work.
            Stopped: the budget is used up.
        """
        settings, scale = self.settings, self.rubric.scale
        language = (
            text_language(report or prompt) if settings.language == "auto" else settings.language
        )
        wanted = settings.evidence == "checks" and not CHECKED.isdisjoint(dimensions)
        messages = judge_messages(
            prompt,
            report,
            self.rubric,
            dimensions,
            language=language,
            reasoning=settings.reasoning,
            evidence=findings(prompt, report) if wanted else None,
            max_prompt_chars=settings.max_prompt_chars,
        )
        schema = reply_schema(self.rubric, dimensions, settings.reasoning)
        asked = Asked(unanswered(dimensions, "failed"), None, False)
        for attempt in range(settings.retries + 1):
            draw = sample + attempt * settings.samples
            request = Request(
                messages=messages,
                temperature=settings.temperature,
                max_tokens=settings.max_tokens,
                seed=settings.seed + draw,
                json_schema=schema,
                sample=draw,
            )
            try:
                reply = (await self.caller.complete(llm, request)).reply
            except UnansweredError as error:
                cause = "refused" if error.reason == "refused" else "failed"
                return Asked(unanswered(dimensions, cause), None, False)  # type: ignore[arg-type]
            verdicts = parse_reply(
                reply.text, dimensions, scale=scale, finish_reason=reply.finish_reason
            )
            asked = Asked(verdicts, reply.model, True)
            if verdicts.whole:
                break
        return asked


def findings(prompt: str, report: str) -> str:
    """What the checks say of the figures of a report, one finding a line."""
    from reward_model.checks import read_facts, verify

    lines = []
    for verdict in verify(read_facts(prompt), report):
        line = f"{verdict.status}: {verdict.claim.text}"
        lines.append(f"{line} ({verdict.reason})" if verdict.reason else line)
    return "\n".join(lines) or "-"
