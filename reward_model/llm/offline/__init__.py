"""The embedded writer and judge: deterministic, small, no network.

They stand where a language model would stand and read the same prompts. They are what makes the
package run without a key; a real model takes their place by name.
"""

from __future__ import annotations

from reward_model.llm.base import RefusedError, Reply, Request, Usage
from reward_model.llm.prompts import sections


class OfflineLLM:
    """Answers the prompts of this package by rule; refuses anything else."""

    name = "offline"
    base_url = ""

    async def complete(self, request: Request) -> Reply:
        """Answer by the task named in the prompt's `<task-...>` section."""
        prompt = "\n\n".join(message.content for message in request.messages)
        parts = sections(prompt)
        task = parts.get("task", "")
        if task in {"judge", "compare"}:
            from reward_model.llm.offline import judge

            text = judge.answer(parts, request)
        elif task in {"write", "degrade", "rewrite"}:
            from reward_model.llm.offline import writer

            text = writer.answer(task, parts, request)
        else:
            raise RefusedError("the embedded model answers only the prompts of this package")
        usage = Usage(prompt_tokens=len(prompt) // 3, completion_tokens=len(text) // 3)
        return Reply(text=text, model="offline", usage=usage)

    async def close(self) -> None:
        """Nothing to close."""
