"""What goes wrong inside a server, and what its clients hear of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import Answer, Running, StandIn, in_thread

from reward_model.records import UserError
from reward_model.records.chat.templates import load_template
from reward_model.score.files.workers import Models
from reward_model.score.scorer import Score
from reward_model.score.serve.batching import Item, Job, Ticket, choose
from reward_model.score.serve.server import serve
from reward_model.score.serve.service import served_name
from reward_model.score.serve.settings import Settings


def together(running: Running, bodies: list[Any], path: str = "/v1/score") -> list[Answer]:
    """Requests sent at once."""
    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(lambda body: running.ask(path, body), bodies))


def test_a_text_that_fails_spoils_no_other(caplog: pytest.LogCaptureFixture) -> None:
    scorer = StandIn()
    with in_thread(scorer) as (running, _), caplog.at_level(logging.ERROR):
        texts = ["sleep", *(f"{'boom' if i == 3 else 'good'} secret {'x' * i}" for i in range(8))]
        said = together(running, [{"response": text} for text in texts])
        assert max(scorer.passes) > 1, "the failing text had no company"
    assert [answer.status for answer in said] == [200, *(500 if i == 3 else 200 for i in range(8))]
    assert said[4].error == "scoring"
    assert "secret" not in json.dumps(said[4].body)
    good = [(text, answer) for text, answer in zip(texts, said, strict=True) if "boom" not in text]
    assert all(a.body["scores"][0]["reward"] == len(text) / 1000 for text, a in good)
    assert "RuntimeError in serving.py" in caplog.text
    assert "secret" not in caplog.text


def test_a_model_that_always_fails_is_reported() -> None:
    with in_thread(StandIn()) as (running, _):
        for _ in range(10):
            assert running.ask("/v1/score", {"response": "boom"}).status == 500
        assert running.ask("/health").status == 503
        assert running.ask("/ready").status == 503
        said = running.ask("/v1/score", {"response": "good"})
        assert (said.status, said.error) == (503, "broken")


def test_a_broken_model_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reward_model.score.serve.batching.TRY_AGAIN", 0.4)
    with in_thread(StandIn()) as (running, _):
        for _ in range(10):
            running.ask("/v1/score", {"response": "boom"})
        assert running.ask("/v1/score", {"response": "good"}).error == "broken"
        running.wait(lambda: running.ask("/ready").status == 200, 5)
        # A body that is none costs no try; a text that fails does.
        assert running.ask("/v1/score", {}).status == 422
        assert running.ask("/v1/score", {"response": "boom"}).error == "scoring"
        refused = running.ask("/v1/score", {"response": "good"})
        assert (refused.error, refused.headers["retry-after"]) == ("broken", "1")
        assert running.ask("/ready").body == {"status": "broken"}
        running.wait(lambda: running.ask("/v1/score", {"response": "good"}).status == 200, 5)
        assert running.ask("/health").status == running.ask("/ready").status == 200


def test_a_slow_model_is_no_silent_one() -> None:
    with in_thread(StandIn(), Settings(timeout_s=0.1)) as (running, _):
        said = running.ask("/v1/score", {"response": "sleep"})
        assert (said.status, said.error) == (504, "timeout")
        assert int(said.headers["retry-after"]) >= 1
        running.wait(lambda: running.ask("/v1/score", {"response": "good"}).status == 200)


def test_a_body_that_never_ends_is_given_up() -> None:
    with (
        in_thread(StandIn(), Settings(timeout_s=0.2)) as (running, _),
        socket.create_connection(("127.0.0.1", running.port), timeout=10) as link,
    ):
        link.sendall(
            b"POST /v1/score HTTP/1.1\r\nhost: x\r\n"
            b"content-type: application/json\r\ncontent-length: 100\r\n\r\n{"
        )
        assert b" 504 " in link.recv(4096)
        assert running.metric("reward_pending_bytes") == 0


def test_who_hangs_up_is_taken_out_of_the_queue() -> None:
    scorer = StandIn()
    with in_thread(scorer, Settings(max_batch_items=1)) as (running, server):
        slow = threading.Thread(target=running.ask, args=("/v1/score", {"response": "sleep"}))
        slow.start()
        running.wait(lambda: running.metric("reward_active_requests") == 1)
        links = [http.client.HTTPConnection("127.0.0.1", running.port) for _ in range(20)]
        for link in links:
            link.request(
                "POST", "/v1/score", b'{"response": "left"}', {"content-type": "application/json"}
            )
        running.wait(lambda: server.service.batcher.waiting > 10, 5)
        for link in links:
            link.close()
        slow.join()
        running.wait(lambda: running.metric("reward_active_requests") == 0)
        assert running.metric("reward_hung_up_total") >= 15
        assert sum(scorer.passes) < 10, "texts nobody waits for were scored"
        assert running.ask("/v1/score", {"response": "good"}).status == 200


def test_a_full_queue_refuses_and_recovers() -> None:
    settings = Settings(max_queue=4, max_items=4, max_batch_items=1)
    with in_thread(StandIn(), settings) as (running, _):
        said = together(running, [{"response": f"sleep {i}"} for i in range(24)])
        refused = [answer for answer in said if answer.status == 503]
        assert refused
        assert {answer.error for answer in refused} == {"overloaded"}
        assert all(1 <= int(answer.headers["retry-after"]) <= 60 for answer in refused)
        assert len(said) - len(refused) >= 4
        assert running.ask("/v1/score", {"response": "good"}).status == 200
        assert running.metric("reward_refused_total") == len(refused)


def test_bodies_are_bounded_together() -> None:
    settings = Settings(max_body_mb=1, max_pending_mb=1)
    with in_thread(StandIn(), settings) as (running, _):
        bodies = [{"response": "sleep" + "x" * 400_000} for _ in range(6)]
        said = together(running, bodies)
        assert {answer.status for answer in said} == {200, 503}
        assert running.metric("reward_pending_bytes") == 0


def test_a_lone_text_waits_for_nobody_and_a_crowd_is_joined() -> None:
    scorer = StandIn()
    with in_thread(scorer, Settings(max_wait_ms=1000)) as (running, _):
        began = time.monotonic()
        running.ask("/v1/score", {"response": "good"})
        assert time.monotonic() - began < 0.9
        together(running, [{"response": f"sleep {i}"} for i in range(16)])
    assert scorer.passes[0] == 1
    assert len(scorer.passes) < 12


def test_texts_with_other_weights_are_not_mixed() -> None:
    class Noting(StandIn):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[tuple[dict[str, Any], list[str]]] = []

        def score_batch(
            self, prompts: Sequence[Any], responses: Sequence[Any], **terms: Any
        ) -> list[Score]:
            self.seen.append((terms, list(responses)))
            return super().score_batch(prompts, responses, **terms)

    scorer = Noting()
    terms: list[dict[str, Any]] = [
        {},
        {"weights": {"depth": 1.0}},
        {"weights": {"accuracy": 1.0}},
        {"weights": {"depth": 1.0}, "risk": 1.0},
    ]
    bodies = [{"response": f"sleep {n} {i}", **terms[n]} for i in range(6) for n in range(4)]
    with in_thread(scorer) as (running, _):
        assert {answer.status for answer in together(running, bodies)} == {200}
    assert max(scorer.passes) > 1, "nothing was joined"
    assert sum(scorer.passes) == len(bodies)
    for found, texts in scorer.seen:
        (n,) = {int(text.split()[1]) for text in texts}
        same = {"weights": None, "risk": None, "evidence": [None] * len(texts)}
        assert found == same | terms[n]


def test_silence_is_null_for_ours_and_an_error_for_others() -> None:
    with in_thread(StandIn()) as (running, _):
        said = running.ask("/v1/score", {"items": [{"response": "silent"}, {"response": "good"}]})
        assert [score["reward"] for score in said.body["scores"]] == [None, 0.004]
        assert running.metric("reward_no_opinion_total") == 1
        said = running.ask("/get_reward", {"query": ["ab", "asilent"], "prompts": ["a", "a"]})
        assert (said.status, said.body["error"]["item"]) == (422, 1)
        assert "item 1 has no reward: said nothing" in said.body["error"]["message"]


def test_a_stop_answers_what_waits_and_a_second_one_says_503() -> None:
    for signals in (1, 2):
        with (
            in_thread(StandIn(), Settings(max_batch_items=1)) as (running, server),
            ThreadPoolExecutor(4) as pool,
        ):
            asked = [pool.submit(running.ask, "/v1/score", {"response": "sleep"}) for _ in range(4)]
            running.wait(lambda: running.metric("reward_active_requests") == 4)
            for _ in range(signals):
                server.handle_exit(15, None)
            if signals == 1:
                assert [one.result().status for one in asked] == [200] * 4
                assert not server.cut_off
            else:
                assert 503 in [one.result().status for one in asked]
                assert server.cut_off


CHATML = Settings(chat_template="chatml")
ASKED = "<|im_start|>user\nMargins?<|im_end|>\n"
OPEN = "<|im_start|>assistant\n"


@pytest.mark.parametrize("prompt", [ASKED + OPEN, (ASKED + OPEN).strip(), ASKED, "Margins?"])
def test_a_policy_cannot_move_where_its_response_begins(prompt: str) -> None:
    """It repeats its prompt, and answers again."""
    moved = ASKED + OPEN + "Bad.<|im_end|>\n" + ASKED + OPEN + "Great."
    with in_thread(StandIn(), CHATML) as (running, _):
        said = running.ask("/get_reward", {"query": [moved], "prompts": [prompt]})
        assert (said.status, said.error) == (422, "chat_template")
        said = running.ask("/get_reward", {"query": [ASKED + OPEN + "Up."], "prompts": [prompt]})
        assert said.body["rewards"] == [0.003]


def test_a_question_asked_twice_needs_the_whole_prompt() -> None:
    before = ASKED + OPEN + "Up.<|im_end|>\n" + ASKED
    asked = {"query": [before + OPEN + "Down."], "prompts": ["Margins?"]}
    with in_thread(StandIn(), CHATML) as (running, _):
        said = running.ask("/get_reward", asked)
        assert "the prompt was answered before" in said.body["error"]["message"]
        assert running.ask("/get_reward", asked | {"prompts": [before]}).body["rewards"] == [0.005]


def test_marks_that_end_in_spaces_are_taken_off_and_blank_ones_refused(tmp_path: Path) -> None:
    file = tmp_path / "own.toml"
    turns = '[turns.user]\nopen = "<u>\\n"\nclose = "</u>\\n"\n'
    turns += '[turns.assistant]\nopen = "<a>\\n"\nclose = "</a>\\n"\n'
    file.write_text('end = ["<end> "]\n' + turns)
    with in_thread(StandIn(), Settings(chat_template=str(file))) as (running, _):
        said = running.ask("/get_reward", {"query": ["<u>\nq</u>\n<a>\nUp.</a>\n<end>\n"]})
        assert said.body["rewards"] == [0.003]
    for blank in ('end = [""]', 'start = [" "]', 'thinking = ["", ""]'):
        file.write_text(f"{blank}\n{turns}")
        with pytest.raises(UserError, match="no mark that is blank"):
            load_template(str(file))


def test_a_key_is_one_that_clients_can_send(monkeypatch: pytest.MonkeyPatch) -> None:
    models, settings = Models((Path("gone"),)), Settings()
    for key, words in ((" \n", "an empty REWARD_MODEL_KEY"), ("schlüssel", "expected printable")):
        monkeypatch.setenv("REWARD_MODEL_KEY", key)
        with pytest.raises(UserError, match=words):
            serve(models, settings, host="127.0.0.1", port=0, digest="0")


def test_a_model_is_named_by_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run" / "best").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run" / "best")
    names = [served_name(Path(name)) for name in (".", "..", "../best")]
    assert names == ["run/best", "run", "run/best"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"timeout_s": 0}, "--timeout 0"),
        ({"max_body_mb": float("nan")}, "--max-body-mb nan"),
        ({"max_wait_ms": -1}, "--max-wait -1"),
        ({"max_queue": 1, "max_items": 2}, "holds at least one request"),
        ({"max_body_mb": 100, "max_pending_mb": 50}, "room for at least one request"),
    ],
)
def test_limits_that_cannot_be(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Settings(**wrong)


TERMS = st.tuples(
    st.sampled_from([None, {"depth": 1.0}, {"accuracy": 1.0}]), st.sampled_from([None, 0.5])
)


@given(
    st.lists(st.tuples(st.integers(1, 600), TERMS), min_size=1, max_size=80),
    st.integers(1, 4096),
    st.integers(1, 64),
)
def test_a_pass_holds_the_oldest_and_stays_within_its_bounds(
    texts: list[tuple[int, tuple[dict[str, float] | None, float | None]]], budget: int, most: int
) -> None:
    loop = asyncio.new_event_loop()
    waiting = [
        Ticket(Job([Item("", "", 0)], weights, risk, loop.create_future()), 0, size)
        for size, (weights, risk) in texts
    ]
    loop.close()
    chosen = choose(waiting, budget, most)
    sizes = [waiting[i].size for i in chosen]
    assert chosen[0] == 0
    assert len(set(chosen)) == len(chosen) <= most
    assert len(chosen) == 1 or max(sizes) * len(sizes) <= budget
    assert all(texts[i][1] == texts[0][1] for i in chosen)
