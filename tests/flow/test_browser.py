"""The pages in a real browser: what the viewer shows, and that no report can run code in it."""

from __future__ import annotations

import html
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from commands import run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

ATTACKS = [
    "<script>document.title='run'</script>",
    "</script><script>document.title='run'</script>",
    "<img src=x onerror=\"document.title='run'\">",
    "<svg onload=\"document.title='run'\"></svg>",
    "<!--<script>document.title='run'//",
    "\u2028{{ 7*7 }}",
]


def page_after_scripts(path: Path, profile: Path) -> str:
    """The document as it stands once its scripts have run."""
    assert CHROMIUM
    flags = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
        "--disable-background-networking --disable-component-update --virtual-time-budget=3000"
    )
    done = subprocess.run(
        [CHROMIUM, *flags.split(), f"--user-data-dir={profile}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Refused to" not in done.stderr, "the page breaks its own content policy"
    return done.stdout


def test_reports_are_shown_as_text_and_run_nothing(tmp_path: Path) -> None:
    scored, page = tmp_path / "scored.jsonl", tmp_path / "page.html"
    rows = [
        {
            "id": f"pair-{n}",
            "prompt": f"prompt {n} {attack}",
            "chosen": f"营业收入增长 14.7% {attack}",
            "rejected": f"营业收入增长 41.7% {attack}",
            "metadata": {
                "prompt_id": f"{n} {attack}",
                "defect_metadata": {"degradation_type": "vague_precision", "severity": 1},
            },
            "scores": {
                "chosen": {"depth": 4, "professionalism": 4, "accuracy": 4},
                "rejected": {"depth": 2, "professionalism": 2, "accuracy": 2},
                "reasoning": {"chosen": {"depth": attack}, "rejected": {"depth": attack}},
            },
        }
        for n, attack in enumerate(ATTACKS)
    ]
    scored.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    done = run("judge", "validate", scored, "--html", page)
    assert done.code in (0, 1), done.stderr
    seen = page_after_scripts(page, tmp_path / "profile")
    assert "<title>run</title>" not in seen
    body = seen.split("<body", 1)[1]
    assert "pair-0" in body, "the viewer shows no pair"
    assert "营业收入增长" in body
    assert html.escape(ATTACKS[0], quote=False) in body, "the text of the report is not shown"
