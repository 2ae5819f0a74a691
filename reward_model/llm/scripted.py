"""`scripted:FILE.jsonl`: a model that says what it is told to, so that tests run the real path.

A file has one step a line: `{"reply": "text"}`, or `{"error": "rate"}` with `rate`, `retry`,
`refused`, `fatal` or `hang`. Steps are taken in order; a step with `match` (a regular expression)
answers, whenever it fits the request, as often as `times` says (default: always).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reward_model.llm.base import (
    FatalError,
    RefusedError,
    Reply,
    Request,
    RetryableError,
    Token,
    Usage,
)
from reward_model.records import UserError, read_jsonl


class Step(BaseModel):
    """One thing that the model does."""

    model_config = ConfigDict(extra="forbid")

    reply: str | None = None
    """What it says."""
    error: Literal["rate", "retry", "refused", "fatal", "hang"] | None = None
    """How it fails instead."""
    match: str | None = None
    """Regular expression that must occur in the request; None: the next request in order."""
    times: int | None = Field(default=None, ge=1)
    """How often a matching step answers; None: always. A step in order answers once."""
    finish_reason: str = "stop"
    model: str = "scripted"
    usage: Usage = Usage()
    tokens: tuple[Token, ...] | None = None
    """Tokens of the reply with their alternatives, for a model that gives them."""
    retry_after_s: float | None = None
    latency_s: float = 0.0


class ScriptedLLM:
    """A model that follows steps, or a function of the request.

    Args:
        steps: texts and steps, or a function that makes one of a request.

    >>> llm = ScriptedLLM(["first", Step(error="rate"), "second"])
    >>> message = Request(messages=())
    >>> asyncio.run(llm.complete(message)).text
    'first'
    """

    def __init__(
        self,
        steps: Iterable[Step | str] | Callable[[Request], Step | str],
        *,
        name: str = "scripted",
        base_url: str = "",
    ) -> None:
        self._name, self._base_url = name, base_url
        self.requests: list[Request] = []
        """Every request it got, in order."""
        self._answer = steps if callable(steps) else None
        given = [] if callable(steps) else [_step(step) for step in steps]
        self._matching = [(step, re.compile(step.match)) for step in given if step.match]
        self._in_order = [step for step in given if not step.match]
        self._taken = 0
        self._left = {id(step): step.times for step, _ in self._matching}

    @classmethod
    def load(cls, path: Path) -> ScriptedLLM:
        """Read the steps from a file.

        Raises:
            UserError: a line is no step.
        """
        steps = []
        for line in read_jsonl(path):
            try:
                step = Step.model_validate(line.value)
                re.compile(step.match or "")
                if (step.reply is None) == (step.error is None):
                    raise ValueError("a step with both or neither of reply and error")
            except ValidationError as error:
                first = error.errors()[0]
                place = ".".join(str(part) for part in first["loc"])
                raise _no_step(f"{place}: {first['msg'].lower()}", path, line.number) from None
            except (ValueError, re.error) as error:
                raise _no_step(str(error), path, line.number) from None
            steps.append(step)
        return cls(steps, name=f"scripted:{path}")

    @property
    def name(self) -> str:
        """As given on the command line."""
        return self._name

    @property
    def base_url(self) -> str:
        """Nowhere, unless a test says otherwise."""
        return self._base_url

    def _next(self, request: Request) -> Step:
        if self._answer is not None:
            return _step(self._answer(request))
        text = "\n".join(message.content for message in request.messages)
        for step, pattern in self._matching:
            left = self._left[id(step)]
            if left != 0 and pattern.search(text):
                self._left[id(step)] = None if left is None else left - 1
                return step
        if self._taken < len(self._in_order):
            self._taken += 1
            return self._in_order[self._taken - 1]
        raise FatalError(
            f"a script without an answer to request {len(self.requests)}",
            expected="a step for each request, or one that matches it",
        )

    async def complete(self, request: Request) -> Reply:
        """Do what the next step says.

        Raises:
            RetryableError, RefusedError, FatalError: the step says so, or there is none left.
        """
        self.requests.append(request)
        step = self._next(request)
        if step.latency_s:
            await asyncio.sleep(step.latency_s)
        if step.reply is not None:
            return Reply(
                text=step.reply,
                model=step.model,
                finish_reason=step.finish_reason,
                usage=step.usage,
                tokens=step.tokens,
            )
        if step.error == "hang":
            await asyncio.Event().wait()
        if step.error == "refused":
            raise RefusedError("refused by the script")
        if step.error == "fatal":
            raise FatalError("fatal by the script")
        rate = step.error == "rate"
        raise RetryableError("failed by the script", retry_after_s=step.retry_after_s, rate=rate)

    async def close(self) -> None:
        """Nothing to close."""


def _step(step: Step | str | Any) -> Step:
    return step if isinstance(step, Step) else Step(reply=step)


def _no_step(found: str, path: Path, line: int) -> UserError:
    return UserError(
        found,
        expected='a step such as {"reply": "text"} or {"error": "rate"}',
        path=path,
        line=line,
    )
