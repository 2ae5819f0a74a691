"""The client of `reward-model serve`: the scorer's own scores, patience with a busy server, and an
error for everything else.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import math
import os
import pickle
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest
from tiny_models import save_encoder

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")

from serving import Running, in_thread

from reward_model.records import UserError
from reward_model.rlhf.client import RewardClient
from reward_model.rlhf.trl import MultiDimReward, dimension_rewards
from reward_model.rlhf.verl import compute_score
from reward_model.score.scorer import RewardScorer
from reward_model.score.serve.settings import Settings


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> RewardScorer:
    folder = save_encoder(tmp_path_factory.mktemp("client") / "best")
    return RewardScorer.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def served(scorer: RewardScorer) -> Iterator[Running]:
    with in_thread(scorer, Settings(max_items=10)) as (running, _):
        yield running


TEXTS = [f"Revenue rose by {i}%." for i in range(70)] + ["", "毛利率上升。"]
CHAT = [{"role": "user", "content": "利润?"}]


def same(said: list[Any], own: list[Any]) -> bool:
    return [s.reward for s in said] == [
        None if s.reward is None else pytest.approx(s.reward, abs=1e-5) for s in own
    ] and [s.reason for s in said] == [s.reason for s in own]


def test_scores_are_those_of_the_scorer_in_order(served: Running, scorer: RewardScorer) -> None:
    client = RewardClient(served.url + "/")
    prompts: list[Any] = [CHAT] * len(TEXTS)
    weights = {"depth": 2.0, "accuracy": 1.0}
    said = client.score_batch(prompts, TEXTS, weights=weights, risk=0.5)
    own = scorer.score_batch(prompts, TEXTS, weights=weights, risk=0.5)
    assert same(said, own)  # 72 texts, though this server takes 10 a request
    assert said[0].levels == pytest.approx(own[0].levels, abs=1e-4)
    assert said[0].probabilities.keys() == own[0].probabilities.keys()
    assert said[70].reason == "the response is empty"
    assert client.score_batch([], []) == []
    client.close()
    assert same(client.score_batch(["a"], ["b"]), scorer.score_batch(["a"], ["b"]))
    client.close()
    one = RewardClient(served.url, connections=1)  # halves do not wait for their own whole
    assert same(one.score_batch(prompts[:30], TEXTS[:30]), scorer.score_batch(prompts, TEXTS)[:30])
    one.close()


def test_half_a_character_has_no_reward_and_takes_nothing_along(
    served: Running, scorer: RewardScorer
) -> None:
    client = RewardClient(served.url)
    asked, texts = ["", "\ud800", ""], ["Up \ud800", "Up.", "Up."]
    said, own = client.score_batch(asked, texts), scorer.score_batch(asked, texts)
    assert [s.reward for s in said] == [None, None, pytest.approx(own[2].reward, abs=1e-5)]
    assert own[0].reward is own[1].reward is None
    assert "holds half of a character" in str(said[0].reason)
    client.close()


def test_threads_and_event_loops_share_a_client(served: Running, scorer: RewardScorer) -> None:
    client = RewardClient(served.url)
    own = scorer.score_batch([""] * 40, TEXTS[:40])

    async def from_a_loop() -> list[Any]:
        scores = await asyncio.gather(*(client.score_async([""], [t]) for t in TEXTS[:40]))
        return [one for (one,) in scores]

    with ThreadPoolExecutor(4) as pool:
        threads = [pool.submit(client.score_batch, [""] * 40, TEXTS[:40]) for _ in range(2)]
        loops = [pool.submit(asyncio.run, from_a_loop()) for _ in range(2)]
        assert all(same(call.result(60), own) for call in [*threads, *loops])
    client.close()


def test_rewards_of_a_server_are_those_of_the_model(served: Running, scorer: RewardScorer) -> None:
    texts = {"prompts": [CHAT, CHAT], "completions": TEXTS[:2]}
    own = scorer.score_batch(*texts.values())
    reward = pickle.loads(pickle.dumps(MultiDimReward(served.url)))
    assert reward(**texts) == [pytest.approx(s.reward, abs=1e-5) for s in own]
    before = served.metric("reward_items_total")
    rewards = dimension_rewards(served.url, ["accuracy", "depth"])
    said = [r(**texts) for r in rewards]
    assert said[1] == [pytest.approx(s.levels["depth"] / 4, abs=1e-5) for s in own]
    assert served.metric("reward_items_total") - before <= 3  # two texts, and one for the names


def test_rewards_of_a_client_travel_with_its_settings(served: Running) -> None:
    client = RewardClient(served.url, patience=1.0, key="secret")
    rewards = dimension_rewards(client)
    again = [pickle.loads(pickle.dumps(reward)) for reward in rewards]
    assert len({id(reward._source) for reward in [*rewards, *again]}) == 1
    assert again[0]._source.opened().settings == client.settings
    assert "secret" not in repr(again[0]._source)
    assert pickle.loads(pickle.dumps(client)).settings == client.settings
    texts = {"prompts": [CHAT], "completions": ["Up."]}
    assert again[0](**texts) == rewards[0](**texts) == dimension_rewards(served.url)[0](**texts)


def test_a_fork_opens_connections_of_its_own(served: Running) -> None:
    client = RewardClient(served.url)
    expected = client.score("", "Up.").reward
    read, write = os.pipe()
    if (child := os.fork()) == 0:
        os.write(write, str(client.score("", "Up.").reward).encode())
        os._exit(0)
    os.close(write)
    assert float(os.read(read, 100)) == expected
    os.waitpid(child, 0)
    client.close()


class Script(ThreadingHTTPServer):
    """A server that answers with what it was told to, one answer a request."""

    daemon_threads = True

    def __init__(self, *answers: tuple[int, str, dict[str, str]]) -> None:
        self.answers = list(answers)
        self.pause = 0.0
        self.asked: list[tuple[float, dict[str, str], Any]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {k.lower(): v for k, v in self.headers.items()}
                script.asked.append((time.monotonic(), headers, json.loads(body)))
                time.sleep(script.pause)
                status, text, extra = script.answers.pop(0)
                if status == 0:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {"Content-Length": str(len(text)), **extra}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.handle_error = lambda *_: None
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def row(**changes: Any) -> dict[str, Any]:
    return {
        "reward": 0.5,
        "levels": {"depth": 2.0},
        "probabilities": {"depth": [0, 0, 1, 0, 0]},
        "predicted": {"depth": 2},
        "uncertainty": {"depth": 0.0},
        "prompt_truncated": False,
        "response_truncated": False,
    } | changes


GOOD = (200, json.dumps({"scores": [row()]}), {})


def test_a_busy_server_is_waited_for_as_long_as_it_asks() -> None:
    script = Script((503, "{}", {"Retry-After": "1"}), (0, "", {}), GOOD)
    assert RewardClient(script.url, key="secret").score("a", "b").reward == 0.5
    times = [when for when, _, _ in script.asked]
    assert 1.0 <= times[1] - times[0] < 3.0
    assert script.asked[2][1]["authorization"] == "Bearer secret"
    assert script.asked[2][2] == {"items": [{"prompt": "a", "response": "b"}]}
    script.shutdown()


def test_what_waits_here_is_not_late_and_what_waits_there_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script = Script(*[GOOD] * 8)
    script.pause = 0.3
    client = RewardClient(script.url, connections=1, timeout=2.0, patience=0.1, key=" secret\n")

    async def all_at_once() -> list[Any]:
        return await asyncio.gather(*(client.score_async([""], ["Up."]) for _ in range(8)))

    assert len(asyncio.run(all_at_once())) == len(script.asked) == 8  # 2.4 s, none asked again
    assert {headers["authorization"] for _, headers, _ in script.asked} == {"Bearer secret"}
    client.close()
    assert not caplog.messages
    script.answers = [(503, "{}", {"Retry-After": "0"})] * 3 + [GOOD]
    with caplog.at_level(logging.WARNING, "reward_model"):
        RewardClient(script.url).score("", "Up.")
    (said,) = (m for name, _, m in caplog.record_tuples if name == "reward_model.rlhf.client")
    assert said == f"503 ({{}}) from {script.url}: asking again, for at most 600 s"
    script.shutdown()


def test_closing_ends_who_waits_and_failing_to_open_is_handed_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = Script(GOOD, GOOD)
    script.pause = 1.0
    client = RewardClient(script.url)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.score, "a", "b")
        while not script.asked:
            time.sleep(0.01)
        thread = client._thread
        client.close()
        with pytest.raises(UserError, match="a client that was closed before its scores came"):
            waiting.result(10)
    assert thread is not None
    assert not thread.is_alive()
    client.close()  # closed already
    monkeypatch.setattr("aiohttp.TCPConnector", lambda **_: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            client.score("a", "b")
    script.shutdown()


@pytest.mark.parametrize("url", ["http://", "http://127.0.0.1:99999", "http://localhost:port"])
def test_an_address_that_is_none_is_not_asked_again(url: str) -> None:
    with pytest.raises(UserError, match="expected http://HOST:PORT"):
        RewardClient(url).score("a", "b")


def test_patience_ends_with_words() -> None:
    busy = (503, '{"error": {"message": "the queue is full", "type": "full"}}', {})
    script = Script(*[busy] * 9)
    with pytest.raises(UserError, match=r"503 \(the queue is full\) from .* after \d tries"):
        RewardClient(script.url, patience=1.0).score("a", "b")
    script.shutdown()
    with pytest.raises(UserError, match=r"ClientConnector.*see that reward-model serve runs there"):
        RewardClient("http://127.0.0.1:9", patience=0.1).score("a", "b")


def test_a_declared_reward_after_a_declared_time(caplog: pytest.LogCaptureFixture) -> None:
    """Counted, logged, told apart from scores, and never kept: a server that is back is asked."""
    busy = (503, "{}", {"Retry-After": "0"})
    script = Script(GOOD, *[busy] * 400)
    client = RewardClient(script.url, patience=0.6, fallback_reward=-1.0)
    reward = MultiDimReward(client, name="report")
    metrics: dict[str, float] = {}
    assert reward(["q"], ["a"], log_metric=metrics.__setitem__) == [0.5]
    assert metrics["report/fallback"] == 0
    begun = time.monotonic()
    with caplog.at_level(logging.WARNING, "reward_model"):
        assert reward(["q"], ["b"], log_metric=metrics.__setitem__) == [-1.0]
    assert 0.5 < time.monotonic() - begun < 3
    assert (metrics["report/fallback"], metrics["report/no_opinion"]) == (1, 0)
    assert "1 responses get the declared fallback_reward -1 (1 so far)" in caplog.messages[-1]
    script.answers = [GOOD] * 2
    assert reward(["q"], ["b"], log_metric=metrics.__setitem__) == [0.5]
    script.answers = []
    (score,) = client.score_batch(["q"], ["c"])  # it hangs up
    assert (score.reward, score.levels, client.fallbacks) == (-1.0, {}, 1)
    assert (score.reason or "").startswith("the declared reward, for want of a server: ")
    script.answers, script.pause = [GOOD], 3.0
    begun = time.monotonic()
    assert client.score("q", "d").reward == -1.0  # it takes the request, and is silent
    assert time.monotonic() - begun < 2
    script.shutdown()


def test_a_declared_reward_hides_no_refusal() -> None:
    script = Script((401, "{}", {}), (200, "{}", {}))
    client = RewardClient(script.url, patience=0.5, fallback_reward=0.0)
    for words in ("401 from", "no scores of 1 texts"):
        with pytest.raises(UserError, match=words):
            client.score("a", "b")
    script.shutdown()
    with pytest.raises(UserError, match="fallback_reward nan; expected a finite number"):
        RewardClient(script.url, fallback_reward=float("nan"))


def test_a_declared_reward_holds_where_no_server_was_ever_reached() -> None:
    """In every trainer's door; dimensions whose names nobody knows are an error, and only they."""
    url = "http://127.0.0.1:9"
    client = RewardClient(url, patience=0.2, fallback_reward=-0.5)
    metrics: dict[str, float] = {}
    whole = MultiDimReward(client, name="report")
    assert whole(["q"], ["a"], log_metric=metrics.__setitem__) == [-0.5]
    assert (metrics["report/fallback"], metrics["report/no_opinion"]) == (1, 0)
    (depth,) = dimension_rewards(client, ["depth"])
    assert depth(["q"], ["a"]) == [-0.5]
    told = asyncio.run(
        compute_score("d", "a", "", {"prompt": "q"}, model=url, patience=0.2, fallback_reward=-0.5)
    )
    assert (told["score"], told["fallback"], told["no_opinion"]) == (-0.5, 1.0, 0.0)
    with pytest.raises(UserError, match="a server that answers once"):
        dimension_rewards(client)
    named = RewardClient(url, patience=0.2, fallback_reward=-0.5, dimensions=["depth"])
    assert [one.dimension for one in dimension_rewards(named)] == ["depth"]
    with pytest.raises(UserError, match="tries within"):
        dimension_rewards(RewardClient(url, patience=0.1), ["depth"])
    script = Script(GOOD)
    client = RewardClient(script.url, patience=0.2, fallback_reward=-0.5)
    script.shutdown()
    assert MultiDimReward(client)(["q"], ["a"]) == [-0.5]


def test_rows_of_verl_are_alike_before_and_after_a_server_is_first_reached() -> None:
    script = Script()  # it hangs up, until there are answers
    names = list(row()["levels"])

    def rows(**more: Any) -> list[dict[str, float]]:
        async def one(text: str) -> dict[str, float]:
            kwargs = {"model": script.url, "patience": 0.3, "fallback_reward": -0.5, **more}
            return await compute_score("d", text, "", {"prompt": "q"}, **kwargs)

        script.answers = []
        before = asyncio.run(one("a"))
        script.answers = [GOOD]
        return [before, asyncio.run(one("b"))]

    bare = rows()
    assert [told["score"] for told in bare] == [-0.5, 0.5]
    assert set(bare[0]) == set(bare[1])
    assert not set(names) & set(bare[0])
    whole = rows(dimensions=names)
    assert set(whole[0]) == set(whole[1]) > set(names)
    assert whole[0][names[0]] == -0.5
    with pytest.raises(UserError, match="the dimensions that were declared: wit"):
        rows(dimensions=["wit"])
    with pytest.raises(UserError, match="names of dimensions with"):
        asyncio.run(
            compute_score("d", "a", "", {"prompt": "q"}, model="best", dimensions=["depth"])
        )
    script.shutdown()


@pytest.mark.parametrize(
    "answer",
    [
        {"scores": []},
        {"scores": [row(reward=float("nan"))]},
        {"scores": [row(levels={})]},
        {"scores": [row(uncertainty={"accuracy": 1.0})]},
        {"scores": [row(reward=None)]},
        {"scores": [row(reward="0.5")]},
        {"rewards": [0.5]},
        [0.5],
        "<html>",
    ],
)
def test_what_is_no_score_is_an_error_and_never_a_number(answer: Any) -> None:
    script = Script((200, json.dumps(answer), {}))
    with pytest.raises(UserError, match="an answer that is no scores of 1 texts"):
        RewardClient(script.url).score("a", "b")
    assert len(script.asked) == 1
    script.shutdown()


def test_refusals_are_passed_on_at_once() -> None:
    refused = '{"error": {"message": "item 0: no text", "type": "invalid_request"}}'
    script = Script((422, refused, {}), (401, "{}", {}), (500, "oops", {}))
    client = RewardClient(script.url)
    with pytest.raises(UserError, match=r"422 from .*: item 0: no text"):
        client.score("a", "b")
    with pytest.raises(UserError, match="set REWARD_MODEL_KEY to the server's key"):
        client.score("a", "b")
    with pytest.raises(UserError, match=r"500 from .*: oops"):
        client.score("a", "b")
    assert len(script.asked) == 3
    script.shutdown()


def test_a_client_that_nobody_holds_leaves_no_thread_and_says_nothing(
    served: Running, caplog: pytest.LogCaptureFixture
) -> None:
    before = set(threading.enumerate())
    client = RewardClient(served.url)
    assert client.score("a", "b").reward is not None
    (thread,) = set(threading.enumerate()) - before
    del client
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()
    gc.collect()  # aiohttp complains of a session that is collected unclosed
    assert not [record for record in caplog.records if "Unclosed" in record.getMessage()]


def test_wrong_use_is_said() -> None:
    with pytest.raises(UserError, match="address 'local host:8000' with a space"):
        RewardClient("local host:8000")
    with pytest.raises(UserError, match="17 as a response"):
        RewardClient("http://localhost:9").score("a", 17)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_takes_nothing_from_its_parents_client(served: Running) -> None:
    program = """
import gc, os, sys, time, warnings
warnings.simplefilter("ignore")
from reward_model.rlhf.client import RewardClient
client = RewardClient(sys.argv[1], timeout=30, patience=60)
client.score("", "Up.")
for way in ("drop", "use", "leave"):
    if not (child := os.fork()):
        if way == "use":
            client.score("", "Down.")
        if way != "leave":
            del client
            gc.collect()
            os._exit(0)
        sys.exit()
    os.waitpid(child, 0)
    began = time.monotonic()
    client.score("", way)
    print(time.monotonic() - began < 20)
"""
    said = subprocess.run(
        [sys.executable, "-c", program, served.url], capture_output=True, text=True, timeout=200
    )
    assert (said.stdout.split(), said.stderr) == (["True"] * 3, "")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patience": math.nan}, "patience nan"),
        ({"patience": "3"}, "patience '3'"),
        ({"timeout": 0}, "timeout 0; expected seconds, more than 0"),
        ({"fallback_reward": "0"}, "fallback_reward '0'"),
        ({"connections": "64"}, "'64' connections"),
        ({"key": b"x"}, "a key of type bytes"),
        ({"key": "s3\ncret"}, "a key that no header can hold"),
    ],
)
def test_settings_as_configuration_files_have_them(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)) as told:
        RewardClient("http://localhost:9", **settings)
    assert "cret" not in str(told.value)
    for url in (None, b"http://localhost:9", 9):
        with pytest.raises(UserError, match="as an address"):
            RewardClient(url)  # type: ignore[arg-type]


BROKEN_ANSWERS = [
    "[" * 200_000,
    '{"scores": [{"reward": 1' + "0" * 400 + "}]}",
    *(
        json.dumps({"scores": [{"reward": 0.5, **LEVELS, **odd}]})
        for LEVELS in (
            {"levels": {"d": 2.0}, "uncertainty": {"d": 0.5}, "probabilities": {"d": [0.5, 0.5]}},
        )
        for odd in (
            {"reward": True},
            {"reward": 7.5},
            {"reward": 1e300},
            {"familiarity": "x"},
            {"probabilities": {"d": [1.0]}},
            {"probabilities": {"d": ["a", "b"]}},
        )
    ),
]


@pytest.mark.parametrize("text", BROKEN_ANSWERS, ids=lambda text: text[:60])
def test_an_answer_that_is_no_score_is_no_number(text: str) -> None:
    script = Script((200, text, {}))
    with pytest.raises(UserError, match="an answer that is no scores"):
        RewardClient(script.url).score("", "Up.")
    script.shutdown()


def test_a_reward_may_round_to_a_little_above_one() -> None:
    full = {"levels": {"d": 4.0}, "uncertainty": {"d": 0.0}, "probabilities": {"d": [0.0, 1.0]}}
    script = Script((200, json.dumps({"scores": [{"reward": 1.0000000000000002, **full}]}), {}))
    assert RewardClient(script.url).score("", "Up.").reward == pytest.approx(1.0)
    script.shutdown()


@pytest.mark.parametrize("message", [None, ["a", "b"], {"detail": "x"}])
def test_an_error_without_a_sentence_is_told_all_the_same(message: Any) -> None:
    script = Script((422, json.dumps({"error": {"message": message}}), {}))
    with pytest.raises(UserError, match="422 from"):
        RewardClient(script.url).score("", "Up.")
    script.shutdown()


def test_a_conversation_with_tools_scores_as_in_this_process(
    served: Running, scorer: RewardScorer
) -> None:
    call = {"function": {"name": "table", "arguments": {"year": 2024}}}
    ask = {"role": "assistant", "content": "Let me look.", "tool_calls": [call]}
    tool = {"role": "tool", "content": "35.2%"}
    said = {"role": "assistant", "content": "The margin fell to 35.2%."}
    talks: list[Any] = [[*CHAT, ask, tool, said], [*CHAT, {**ask, "content": None}], "<think>hm"]
    prompts: list[Any] = [CHAT, CHAT, "利润?"]
    client = RewardClient(served.url)
    assert same(client.score_batch(prompts, talks), scorer.score_batch(prompts, talks))
    np.testing.assert_allclose(
        client.score("", "Up.", weights={"depth": np.float32(1)}, risk=np.float32(0.5)).reward,
        scorer.score("", "Up.", weights={"depth": 1.0}, risk=0.5).reward,
        atol=1e-5,
    )
