"""Prompt files: placeholders filled in one pass, and fences that keep quoted text apart.

A prompt file stands beside the code that uses it, named `NAME.LANGUAGE.md`, with `{{placeholder}}`
where a value goes. Values are never searched for placeholders, so a report may contain any text.
"""

from __future__ import annotations

import re
from functools import lru_cache
from importlib.resources import files

from reward_model.records import digest

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_SECTION = re.compile(r"<(?P<tag>(?P<name>[a-z_]+)-[0-9a-f]{8})>\n(?P<text>.*?)\n</(?P=tag)>", re.S)


@lru_cache
def prompt_file(package: str, name: str, language: str) -> str:
    """Text of `package/prompts/NAME.LANGUAGE.md`."""
    return (files(package) / "prompts" / f"{name}.{language}.md").read_text("utf-8").strip()


def fill(template: str, /, **values: str) -> str:
    """Put `values` into a template, in one pass.

    >>> fill("Write about {{topic}}.", topic="{{x}}")
    'Write about {{x}}.'

    Raises:
        KeyError: the template has a placeholder without a value, or a value has no placeholder.
    """
    names = set(_PLACEHOLDER.findall(template))
    if names != set(values):
        raise KeyError(f"placeholders {sorted(names)} against values {sorted(values)}")
    return _PLACEHOLDER.sub(lambda match: values[match.group(1)], template)


def fence(name: str, text: str) -> str:
    """Quote `text` between boundaries that it cannot contain: `<report-1a2b3c4d>`.

    The boundary follows from the text, so the same text makes the same prompt.

    >>> sections(fence("report", "Sales rose."))
    {'report': 'Sales rose.'}
    """
    salt = 0
    while (mark := digest(f"{salt}:{text}", 8)) in text:
        salt += 1
    return f"<{name}-{mark}>\n{text}\n</{name}-{mark}>"


def sections(prompt: str) -> dict[str, str]:
    """Texts fenced in a prompt by name; the first of each name counts."""
    found: dict[str, str] = {}
    for match in _SECTION.finditer(prompt):
        found.setdefault(match["name"], match["text"])
    return found
