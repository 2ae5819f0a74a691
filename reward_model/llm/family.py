"""Families of models, to warn when a judge grades the writing of its own relatives.

A judge favours text by a model of its family (Preference Leakage, arXiv:2502.01534).
"""

from __future__ import annotations

import re

from reward_model.llm.addresses import split_address

_KNOWN = (
    ("gpt", re.compile(r"\b(?:chat)?gpt|\bo[134](?:\b|-)|davinci")),
    ("qwen", re.compile(r"\bqw(?:en|q)|\btongyi")),
    ("claude", re.compile(r"\bclaude")),
    ("gemini", re.compile(r"\bgem(?:ini|ma)")),
    ("deepseek", re.compile(r"\bdeepseek")),
    ("llama", re.compile(r"llama|\bvicuna|\balpaca|\btulu")),
    ("mistral", re.compile(r"\bmi[sx]tral")),
    ("glm", re.compile(r"glm")),
    ("kimi", re.compile(r"\bkimi|\bmoonshot")),
)
_WORD = re.compile(r"[a-z]+")


def family(model: str) -> str:
    """Family of a model, whatever serves it; its first word where it is not a known one.

    >>> family("dashscope:qwen3-max"), family("qwen-plus"), family("openai:o3-mini"), family("x1-y")
    ('qwen', 'qwen', 'gpt', 'x')
    """
    model = split_address(model)[0]
    provider, _, rest = model.lower().partition(":")
    name = rest if rest and provider in {"openai", "dashscope"} else model.lower()
    for known, pattern in _KNOWN:
        if pattern.search(name):
            return known
    word = _WORD.search(name)
    return word.group() if word else name
