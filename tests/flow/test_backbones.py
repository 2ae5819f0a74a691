"""docs/backbones.md says of tiny decoders what they do here and now."""

from __future__ import annotations

import backbones
import pytest
from conftest import ROOT

PAGE = ROOT / "docs" / "backbones.md"


def on_the_page() -> dict[str, dict[str, str]]:
    """Base -> row -> cell."""
    lines = [line for line in PAGE.read_text("utf-8").splitlines() if line.startswith("|")]
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {name: {row[0]: row[i] for row in rows} for i, name in enumerate(head) if i}


def test_the_page_has_every_base() -> None:
    assert list(on_the_page()) == list(backbones.BASES)


@pytest.mark.parametrize("base", backbones.BASES)
def test_the_page_says_what_a_base_does(base: str) -> None:
    assert backbones.column(base) == on_the_page()[base]
