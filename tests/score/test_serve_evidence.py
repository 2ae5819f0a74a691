"""A model that reads evidence, served: a text that is slow to check is nobody else's trouble."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Answer, Running, server
from tiny_models import save_encoder

from reward_model.score.scorer import RewardScorer

SECONDS = 5
TABLE = "Unit: CNY million\n| Item | FY2021 | FY2020 |\n|---|---|---|\n" + "\n".join(
    f"| Item {i} | {i * 37 % 911} | {i * 53 % 887} |" for i in range(300)
)
QUICK = "Item 5 was 185 million in FY2021, up from 900 million."
SLOW = " ".join(f"Item {i} rose {i % 40}.0% to {i} million in FY2021." for i in range(30000))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served") / "best"
    return save_encoder(folder, evidence="checks", max_input_length=256)


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[Running]:
    with server(model, "--evidence-timeout", SECONDS) as running:
        yield running


def in_background(served: Running, path: str, body: Any) -> tuple[threading.Thread, list[Answer]]:
    told: list[Answer] = []
    thread = threading.Thread(target=lambda: told.append(served.ask(path, body)))
    thread.start()
    return thread, told


def test_a_slow_text_holds_up_nobody_and_gets_no_number(served: Running, model: Path) -> None:
    own = RewardScorer.from_pretrained(model, device="cpu").score(TABLE, QUICK)
    items = [{"prompt": TABLE, "response": SLOW}, {"prompt": TABLE, "response": QUICK}]
    slow, told = in_background(served, "/v1/score", {"items": items})
    longest, asked = 0.0, 0
    while not told:
        at = time.monotonic()
        quick = served.ask("/v1/score", {"prompt": TABLE, "response": QUICK})
        if not told:
            longest, asked = max(longest, time.monotonic() - at), asked + 1
        assert quick.body["scores"][0]["reward"] == pytest.approx(own.reward, abs=1e-5)
    slow.join()
    assert asked > 1
    assert longest < SECONDS
    first, second = told[0].body["scores"]
    assert first["reward"] is None
    assert first["reason"] == f"its figures were not checked within {SECONDS} s"
    assert second["reward"] == pytest.approx(own.reward, abs=1e-5)


def test_where_a_number_is_needed_it_is_an_error(served: Running) -> None:
    told = served.ask("/score", {"text_1": TABLE, "text_2": [QUICK, "1" * 2_000_001]})
    assert (told.status, told.error, told.body["error"]["item"]) == (422, "no_opinion", 1)
    assert "its figures are not checked" in told.body["error"]["message"]
    told = served.ask("/score", {"text_1": "a", "text_2": QUICK})
    assert told.body["usage"]["total_tokens"] > 20  # the evidence is among them


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="children are listed in /proc")
def test_a_server_that_stops_ends_the_checks(served: Running) -> None:
    """The last test of this server."""
    slow, told = in_background(served, "/v1/score", {"prompt": TABLE, "response": SLOW})
    served.wait(lambda: served.metric("reward_active_requests") == 1)
    assert served.process
    children = _children(served.process.pid)
    assert children
    for _ in range(2):  # the second does not wait for what was accepted
        served.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    slow.join(20)
    assert (told[0].status, served.process.wait(20)) == (503, 3)
    end = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in children):
        assert time.monotonic() < end
        time.sleep(0.1)


def _children(pid: int) -> list[str]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        found += (task / "children").read_text().split()
    return found
