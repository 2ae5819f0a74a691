"""The judge's messages, from text and rubric alone: blind by construction.

`judge_messages(prompt, report, rubric, ["depth"], ...)` cannot be told which side it is looking
at, who wrote it or what was done to it; what it quotes cannot break out of its fence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Literal

from reward_model.llm.base import ChatMessage
from reward_model.llm.prompts import fence, fill, neutralised, prompt_file
from reward_model.rubrics import Rubric, say

Reasoning = Literal["first", "none"]
Language = Literal["zh", "en"]
TEXT_NAMES = ("A", "B")
"""What a judge of two texts calls them."""

_TAG = re.compile(r"<[^<>]{0,2000}>")
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_LATIN_WORD = re.compile(r"[A-Za-z]{2,}")


def text_language(text: str) -> Language:
    """Language a text is written in, markup aside.

    >>> text_language('<p class="summary">营业收入同比下降</p>'), text_language("Revenue fell")
    ('zh', 'en')
    """
    bare = _TAG.sub(" ", text)
    chinese = len(_CHINESE.findall(bare))
    return "zh" if chinese > len(_LATIN_WORD.findall(bare)) or not bare.strip() else "en"


def capped(text: str, limit: int) -> str:
    """Head and tail of a text longer than `limit` characters, saying what was left out; 0 keeps
    it whole.

    >>> capped("abcdefghij", 4)
    'ab\\n[... 6 characters left out ...]\\nij'
    """
    if limit <= 0 or len(text) <= limit:
        return text
    head = (limit + 1) // 2
    tail = limit - head
    end = text[len(text) - tail :] if tail else ""
    return f"{text[:head]}\n[... {len(text) - limit} characters left out ...]\n{end}"


def judge_messages(
    prompt: str,
    report: str,
    rubric: Rubric,
    dimensions: Sequence[str],
    *,
    language: Language,
    reasoning: Reasoning = "first",
    evidence: str | None = None,
    max_prompt_chars: int = 0,
) -> tuple[ChatMessage, ...]:
    """Messages that ask for the levels of one text.

    What every call about a pair shares comes first, so providers that cache prefixes can.

    Args:
        prompt: what the writer was given, tables and all; empty where a data set has none.
        report: the text to grade.
        dimensions: names of the dimensions of `rubric` to grade in this call.
        evidence: findings of a program on the figures of the text, one a line; None leaves the
            section out.
        max_prompt_chars: show only head and tail of a longer prompt; 0 shows it whole.
    """
    return _messages(
        "judge",
        {"report": report},
        prompt,
        rubric,
        dimensions,
        language=language,
        reasoning=reasoning,
        evidence=evidence,
        max_prompt_chars=max_prompt_chars,
    )


def compare_messages(
    prompt: str,
    first: str,
    second: str,
    rubric: Rubric,
    dimensions: Sequence[str],
    *,
    language: Language,
    reasoning: Reasoning = "first",
    evidence: str | None = None,
    max_prompt_chars: int = 0,
) -> tuple[ChatMessage, ...]:
    """Messages that ask for the levels of two texts side by side, known as A and B alone."""
    return _messages(
        "compare",
        {"first": first, "second": second},
        prompt,
        rubric,
        dimensions,
        language=language,
        reasoning=reasoning,
        evidence=evidence,
        max_prompt_chars=max_prompt_chars,
    )


_FENCES = {"report": "report", "first": "report_a", "second": "report_b"}


def _messages(
    task: Literal["judge", "compare"],
    texts: dict[str, str],
    prompt: str,
    rubric: Rubric,
    dimensions: Sequence[str],
    *,
    language: Language,
    reasoning: Reasoning,
    evidence: str | None,
    max_prompt_chars: int,
) -> tuple[ChatMessage, ...]:
    found = ""
    if evidence is not None:
        findings = fence("evidence", neutralised(evidence))
        found = (
            "\n"
            + fill(prompt_file("judge.scoring", "evidence", language), findings=findings)
            + "\n"
        )
    names = TEXT_NAMES[: len(texts)] if len(texts) > 1 else ()
    skeleton = _skeleton(rubric, dimensions, language, reasoning, names)
    user = fill(
        prompt_file("judge.scoring", task, language),
        task=fence("task", task),
        language=fence("language", language),
        prompt=fence("prompt", neutralised(capped(prompt, max_prompt_chars))),
        evidence=found,
        dimensions=fence("dimensions", _dimensions(rubric, dimensions, language)),
        scale=fence("scale", f"0 - {rubric.scale}"),
        format=fill(
            prompt_file("judge.scoring", f"reply_{reasoning}", language),
            skeleton=json.dumps(skeleton, ensure_ascii=False),
        ),
        **{key: fence(_FENCES[key], neutralised(text)) for key, text in texts.items()},
    )
    title = say(rubric.title, language) or rubric.name
    file = "system" if task == "judge" else "compare_system"
    system = fill(prompt_file("judge.scoring", file, language), title=title)
    return (ChatMessage(role="system", content=system), ChatMessage(role="user", content=user))


def reply_schema(
    rubric: Rubric, dimensions: Sequence[str], reasoning: Reasoning, *, texts: int = 1
) -> dict[str, Any]:
    """JSON schema of the reply, for providers that can hold a model to one.

    With two texts, levels and reasons stand under A and B.

    >>> from reward_model.rubrics import load_rubric
    >>> schema = reply_schema(load_rubric("financial_report"), ["depth"], "none")
    >>> schema["properties"]["levels"]["properties"]
    {'depth': {'type': 'integer', 'enum': [0, 1, 2, 3, 4]}}
    """

    def each(value: dict[str, Any]) -> dict[str, Any]:
        one = _object(dict.fromkeys(dimensions, value))
        return one if texts == 1 else _object(dict.fromkeys(TEXT_NAMES[:texts], one))

    parts = {"levels": each({"type": "integer", "enum": list(range(rubric.classes))})}
    if reasoning == "first":
        parts = {"reasoning": each({"type": "string"}), **parts}
    return _object(parts)


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _skeleton(
    rubric: Rubric,
    dimensions: Sequence[str],
    language: Language,
    reasoning: Reasoning,
    names: Sequence[str],
) -> dict[str, Any]:
    def each(value: str) -> dict[str, Any]:
        one = dict.fromkeys(dimensions, value)
        return dict.fromkeys(names, one) if names else one

    why = "理由" if language == "zh" else "reasons"
    what = f"0-{rubric.scale} 的整数" if language == "zh" else f"integer 0-{rubric.scale}"
    levels = {"levels": each(f"<{what}>")}
    if reasoning == "none":
        return levels
    return {"reasoning": each(f"<{why}>"), **levels}


def _dimensions(rubric: Rubric, names: Sequence[str], language: Language) -> str:
    blocks = []
    for name in names:
        dimension = rubric.dimension(name)
        lines = [f"{name}: {say(dimension.title, language)}"]
        about = say(dimension.description, language)
        if about:
            lines.append(f"  {about}")
        lines += [f"  {level} = {meaning}" for level, meaning in rubric.anchors(name, language)]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)
