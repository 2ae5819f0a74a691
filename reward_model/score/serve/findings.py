"""What runs in the processes of `evidence`: the checks of one text, and little else to import."""

from __future__ import annotations

import signal
import threading
from typing import Any

from reward_model.checks import evidence, read_facts, summarize, verify

MOST_CLAIMS = 100


def account(prompt: str, report: str) -> str:
    """The sentences that the model reads."""
    _ignore_ctrl_c()
    return evidence(prompt, report)


def claims(prompt: str, report: str) -> dict[str, Any]:
    """The same, with the claims that it sums up."""
    _ignore_ctrl_c()
    facts = read_facts(prompt)
    verdicts = verify(facts, report)
    counts = summarize(verdicts)
    telling = sorted(verdicts, key=lambda v: ("wrong", "verified", "unverifiable").index(v.status))
    return {
        "text": evidence(facts, report),
        "verified": counts.verified,
        "wrong": counts.wrong,
        "unverifiable": counts.unverifiable,
        "claims": [
            {"text": v.claim.text, "status": v.status, "reason": v.reason}
            for v in telling[:MOST_CLAIMS]
        ],
    }


def _ignore_ctrl_c() -> None:
    """In a terminal it reaches all processes; the server stops in its own way, and ends these."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
