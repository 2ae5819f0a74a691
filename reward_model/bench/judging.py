"""A language model as a reward: levels of one answer at a time, and the rubric's weighted mean.

Answers come through the ledger, so a run that was stopped pays nothing twice. Refusals and replies
that cannot be read are no opinion, never a number.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from pathlib import Path

from reward_model.llm import (
    LLM,
    Caller,
    ChatMessage,
    FatalError,
    Request,
    UnansweredError,
    bounded,
    fence,
    fill,
    open_llm,
    prompt_file,
)
from reward_model.llm.prompts import neutralised
from reward_model.records import Stopped, Text, UserError, as_text
from reward_model.records.chat.marks import answer_of
from reward_model.records.terminal import progress
from reward_model.records.texts import language_of
from reward_model.rubrics import Rubric, say

MAX_TOKENS = 1024


class Judge:
    """Scores by a language model.

    Args:
        name: `openai:MODEL`, `dashscope:MODEL`, `offline` or `scripted:FILE`.
        rubric: what is graded; dimensions without a weight are not asked for.
        ledger: file of all calls.
    """

    def __init__(
        self, name: str, rubric: Rubric, ledger: Path, *, base_url: str | None = None
    ) -> None:
        self.llm: LLM = open_llm(name, base_url=base_url)
        self.rubric, self.ledger = rubric, ledger
        self.cost: float | None = None

    def __call__(self, prompts: Sequence[Text], responses: Sequence[str]) -> list[float | None]:
        """One reward a response, from 0 to 1; None where there is no opinion.

        Raises:
            UserError: no call to this model can work.
            Stopped: calls are owed to another run.
        """
        return asyncio.run(self._all(list(zip(prompts, responses, strict=True))))

    async def _all(self, texts: list[tuple[Text, str]]) -> list[float | None]:
        rewards: list[float | None] = [None] * len(texts)
        owed = 0
        async with Caller(ledger=self.ledger) as caller:

            async def one(at: int) -> float | str | None:
                try:
                    answer = await caller.complete(self.llm, self.request(*texts[at]))
                except UnansweredError as error:
                    return None if error.reason == "refused" else "owed"
                return self.read(answer.reply.text)

            try:
                with progress(transient=True) as bar:
                    task = bar.add_task("judge", total=len(texts), note="")
                    async for at, reward in bounded(one, list(range(len(texts))), 256):
                        bar.update(task, advance=1, note=caller.note())
                        if isinstance(reward, str):
                            owed += 1
                        else:
                            rewards[at] = reward
            except FatalError as error:
                raise UserError(f"a model that cannot be called: {error}") from None
            finally:
                cost = caller.report().get("ledger_cost_usd")
                self.cost = float(cost) if isinstance(cost, int | float) else None
                await self.llm.close()
        if owed:
            raise Stopped(f"{owed:,} answers are owed; run the same command again to go on")
        return rewards

    def request(self, prompt: Text, response: str) -> Request:
        """What is asked of one response."""
        language = language_of(response)
        names = [d.name for d in self.rubric.dimensions if d.weight > 0]
        described = "\n".join(
            f"{d.name}: {say(d.title, language)}\n  {say(d.description, language)}\n"
            + "\n".join(f"  {at} = {a}" for at, a in self.rubric.anchors(d.name, language))
            for d in self.rubric.dimensions
            if d.weight > 0
        )
        text = fill(
            prompt_file("reward_model.bench", "grade", language),
            task=fence("task", "judge"),
            language=fence("language", language),
            prompt=fence("prompt", neutralised(as_text(prompt))),
            report=fence("report", neutralised(response)),
            dimensions=fence("dimensions", described),
            scale=fence("scale", f"0..{self.rubric.scale}"),
            skeleton=json.dumps({"levels": dict.fromkeys(names, "…")}, ensure_ascii=False),
        )
        return Request(
            messages=(ChatMessage(role="user", content=text),),
            temperature=0.0,
            max_tokens=MAX_TOKENS,
        )

    def read(self, reply: str) -> float | None:
        """The reward that a reply says; None where it does not say every level.

        >>> from reward_model.rubrics import load_rubric
        >>> judge = Judge("offline", load_rubric("financial_report"), Path("calls.jsonl"))
        >>> judge.read('{"levels": {"depth": 4, "professionalism": 4, "accuracy": 4}}')
        1.0
        >>> judge.read('{"levels": {"depth": 4}}') is None
        True
        """
        text = answer_of(reply) or ""
        found = re.search(r"\{.*\}", text, re.S)
        try:
            levels = json.loads(found[0])["levels"] if found else None
        except (ValueError, KeyError, TypeError):
            return None
        total = 0.0
        for name, weight in self.rubric.weights.items():
            if not weight:
                continue
            level = levels.get(name) if isinstance(levels, dict) else None
            if type(level) is not int or not 0 <= level <= self.rubric.scale:
                return None
            total += weight * level / self.rubric.scale
        return total
