"""README.md and README.zh.md say the same: headings, commands, outputs and links, in one order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MEND = "change README.md and README.zh.md together"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)


@pytest.fixture(scope="module")
def both() -> tuple[str, str]:
    english, chinese = ((ROOT / f"README{name}.md").read_text("utf-8") for name in ("", ".zh"))
    return english, chinese


def _said(kind: str, block: str) -> list[str]:
    """Lines of a block; in code without its comments, of the drawn flow its commands alone."""
    if "▼" in block:
        return re.findall(r"(?:datagen|judge|reward-model) [a-z]+|serve, prefer, export", block)
    if kind == "text":
        return block.splitlines()
    return [re.sub(r"(^|\s+)# .*", "", line) for line in block.splitlines()]


def test_code_is_the_same(both: tuple[str, str]) -> None:
    english, chinese = ([_said(*found) for found in BLOCK.findall(text)] for text in both)
    assert len(english) > 5
    assert chinese == english, MEND


def test_headings_and_links_are_the_same(both: tuple[str, str]) -> None:
    prose = [BLOCK.sub("```", text) for text in both]
    # A heading is known by its level and by the blocks and the rows of tables below it.
    english, chinese = (re.findall(r"^(#+ |```|\|)", text, flags=re.M) for text in prose)
    assert chinese == english, MEND
    english, chinese = (
        [to for to in re.findall(r"\]\(([^)]+)\)", text) if not to.startswith("README")]
        for text in prose
    )
    assert chinese == english, MEND
    assert all((ROOT / to).exists() for to in english)


def test_every_command_in_prose_is_in_both(both: tuple[str, str]) -> None:
    english, chinese = (set(re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))) for text in both)
    assert english == chinese, MEND
