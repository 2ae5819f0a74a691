"""The embedded writer: composes an analysis from the tables of a prompt, and edits reports.

`answer(task, parts, request)` stands where a language model would: `write` reads the statements in
the user's message; `degrade` and `rewrite` edit the text in the `report` section.
"""

from __future__ import annotations

import random

from reward_model.checks import read_facts
from reward_model.llm.base import RefusedError, Request
from reward_model.llm.offline.analysis import Analysis, draw_style, style_of
from reward_model.llm.offline.phrases import phrases


def answer(task: str, parts: dict[str, str], request: Request) -> str:
    """The reply to a `write`, `degrade` or `rewrite` prompt; the same request, the same reply.

    Raises:
        RefusedError: the prompt lacks what the task needs.
    """
    from reward_model.llm.offline import compose
    from reward_model.llm.offline.degrade import Degrader
    from reward_model.llm.offline.rewrite import Rewriter

    try:
        language = parts["language"]
        said = phrases(language)
        rng = random.Random(request.key("offline"))
        if task == "write":
            analysis = Analysis(read_facts(request.messages[-1].content), said, draw_style(rng))
            if len(analysis.periods) < 2:
                raise RefusedError("the embedded writer needs statements of two periods or more")
            return compose.write(analysis, parts, rng)
        report = parts["report"]
        analysis = Analysis(read_facts(parts["statements"]), said, style_of(report))
        if task == "rewrite":
            return Rewriter(said, analysis, rng).rewrite(report, parts["kind"])
        editor = Degrader(said, analysis, rng)
        return editor.degrade(report, parts["kind"], int(parts["severity"]))
    except KeyError as missing:
        raise RefusedError(f"the embedded writer misses {missing} in this prompt") from None
    except FileNotFoundError:
        raise RefusedError("the embedded writer writes Chinese (zh) and English (en)") from None
