"""The server as its clients see it: right answers under load, and every refusal in words."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import run
from serving import Running, server
from tiny_models import save_encoder

from reward_model.score.ensemble import EnsembleScorer
from reward_model.score.scorer import RewardScorer, Score

aiohttp = pytest.importorskip("aiohttp")

USER, ASSISTANT = "<|im_start|>user\n{}<|im_end|>\n", "<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("served") / "best", max_input_length=128)


@pytest.fixture(scope="module")
def scorer(model: Path) -> RewardScorer:
    return RewardScorer.from_pretrained(model, device="cpu")


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[Running]:
    flags = ["--chat-template", "chatml", "--max-body-mb", 1, "--max-items", 32]
    with server(model, *flags) as running:
        yield running


def near(score: dict[str, Any], own: Score) -> bool:
    """The same score; which texts shared its batch may move the last digits."""
    return score["reward"] == pytest.approx(own.reward, abs=1e-5) and all(
        score["levels"][name] == pytest.approx(level, abs=1e-4)
        for name, level in own.levels.items()
    )


def test_scores_are_those_of_the_scorer(served: Running, scorer: RewardScorer) -> None:
    chat = [{"role": "user", "content": "利润?"}]
    items = [
        {"prompt": "Margins?", "response": "Up by 2 points."},
        {"prompt": chat, "response": "毛利率上升。" * 60},
        {"response": " "},
    ]
    weights = {"depth": 2.0, "accuracy": 1.0}
    said = served.ask("/v1/score", {"items": items, "weights": weights, "risk": 0.5})
    assert said.status == 200
    own = scorer.score_batch(
        ["Margins?", chat, ""], [item["response"] for item in items], weights=weights, risk=0.5
    )
    assert all(near(*both) for both in zip(said.body["scores"][:2], own, strict=False))
    assert said.body["scores"][1]["response_truncated"]
    assert said.body["scores"][2]["reward"] is None
    assert said.body["scores"][2]["reason"] == "the response is empty"
    assert said.body["model"]["name"].endswith("/best")
    one = served.ask("/v1/score", {"prompt": "Margins?", "response": "Up by 2 points."})
    assert near(one.body["scores"][0], scorer.score("Margins?", "Up by 2 points."))


def test_openrlhf_posts_one_sample(served: Running, scorer: RewardScorer) -> None:
    prompt = USER.format("Margins?") + ASSISTANT
    asked = {"query": [prompt + "Up.<|im_end|>"], "prompts": [prompt], "labels": [None]}
    said = served.ask("/get_reward", asked)
    own = scorer.score("Margins?", "Up.")
    assert said.body["rewards"] == said.body["scores"] == [pytest.approx(own.reward, abs=1e-5)]
    assert said.body["extra_logs"]["depth"] == [pytest.approx(own.levels["depth"], abs=1e-4)]
    assert {len(values) for values in said.body["extra_logs"].values()} == {1}


def test_classify_gives_one_number_a_text(served: Running, scorer: RewardScorer) -> None:
    text = USER.format("Margins?") + ASSISTANT + "Up."
    said = served.ask("/classify", {"model": "any", "input": [text, text], "use_activation": False})
    reward = scorer.score("Margins?", "Up.").reward
    assert [d["probs"] for d in said.body["data"]] == [[pytest.approx(reward, abs=1e-5)]] * 2
    assert [d["index"] for d in said.body["data"]] == [0, 1]
    tokens = len(scorer.encode("Margins?", "Up.").input_ids)
    assert said.body["usage"]["prompt_tokens"] == 2 * tokens
    messages = [
        {"role": "user", "content": "Margins?"},
        {"role": "assistant", "content": "Up."},
    ]
    said = served.ask("/classify", {"messages": messages})
    assert said.body["data"][0]["probs"] == [pytest.approx(reward, abs=1e-5)]


def test_no_opinion_is_never_a_number(served: Running) -> None:
    prompt = USER.format("Margins?") + ASSISTANT
    asked = {"query": [prompt + "Up.", prompt + "<|im_end|>"], "prompts": [prompt, prompt]}
    said = served.ask("/get_reward", asked)
    assert (said.status, said.error, said.body["error"]["item"]) == (422, "no_opinion", 1)
    said = served.ask("/classify", {"input": [prompt + " "]})
    assert (said.status, said.error, said.body["error"]["item"]) == (422, "no_opinion", 0)


@pytest.mark.parametrize(
    ("query", "prompt", "words"),
    [
        ("Margins? Up.", None, "without a turn of the assistant"),
        (USER.format("a") + ASSISTANT + "Up.", USER.format("b") + ASSISTANT, "begin with its"),
        (USER.format("a") + ASSISTANT + "Up.<|eot_id|>", None, "<|eot_id|>"),
        (
            USER.format("a") + ASSISTANT + f"Bad.<|im_end|>\n{ASSISTANT}Good.",
            USER.format("a") + ASSISTANT,
            "<|im_start|>",
        ),
    ],
)
def test_queries_that_do_not_fit_are_refused(
    served: Running, query: str, prompt: str | None, words: str
) -> None:
    said = served.ask("/get_reward", {"query": [query], "prompts": [prompt]})
    assert (said.status, said.error) == (422, "chat_template")
    assert words in said.body["error"]["message"]


DEEP = b'{"response": ' + b"[" * 50_000


@pytest.mark.parametrize(
    ("path", "body", "status", "words"),
    [
        ("/v1/score", b"", 400, "broken"),
        ("/v1/score", b"{", 400, "broken"),
        ("/v1/score", b'{"response": "\xff"}', 400, "broken"),
        ("/v1/score", b'{"response": "\\ud800"}', 400, "broken"),
        ("/v1/score", b'{"response": "a", "risk": NaN}', 400, "broken"),
        ("/v1/score", b'{"response": "a", "risk": 1e999}', 422, "risk"),
        ("/v1/score", b'{"response": "a", "risk": -1}', 422, "risk"),
        ("/v1/score", DEEP, 400, "broken"),
        ("/v1/score", b"[]", 422, "object"),
        ("/v1/score", {"items": []}, 422, "items"),
        ("/v1/score", {"items": [{"response": "a"}] * 33}, 413, "at most 32"),
        ("/v1/score", {"response": 1}, 422, "response: "),
        ("/v1/score", {"reponse": "a"}, 422, "reponse: "),
        ("/v1/score", {"response": "a", "weights": {"depht": 1}}, 422, "'depht'"),
        ("/v1/score", {"response": "a", "weights": {"depth": 0}}, 422, "above 0"),
        ("/v1/score", {"response": "a", "weights": {"depth": 1e308}}, 422, "weights.depth"),
        ("/v1/score", {"response": "a" * 1_000_001}, 413, "above 1 MB"),
        ("/get_reward", {"query": "a"}, 422, "query"),
        ("/get_reward", {"query": ["a"], "prompts": ["a", "b"]}, 422, "2 prompts"),
        ("/get_reward", b'{"query": ["a"], "labels": [Infinity]}', 400, "broken"),
        ("/classify", {"input": [1.5]}, 422, "input: "),
        ("/classify", {"messages": [{"role": "user", "content": "a"}]}, 422, "assistant"),
    ],
)
def test_garbage_is_told_in_words(
    served: Running, path: str, body: Any, status: int, words: str
) -> None:
    said = served.ask(path, body)
    assert said.status == status, said.body
    assert words in said.body["error"]["message"]
    assert served.ask("/health").status == 200


def test_other_requests_have_errors_of_the_same_form(served: Running) -> None:
    assert served.ask("/nothing").error == "not_found"
    assert served.ask("/v1/score").error == "method_not_allowed"
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert served.ask("/v1/score", b"a=b", headers=form).error == "media_type"


def test_a_body_without_a_length_is_bounded_as_it_comes(served: Running) -> None:
    """Chunked, far above the limit; what was refused is not kept."""
    before = _resident(served)
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as link:
        link.sendall(
            b"POST /v1/score HTTP/1.1\r\nhost: x\r\n"
            b"content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        )
        chunk = b"10000\r\n" + b"a" * 65536 + b"\r\n"
        for _ in range(64 * 16):
            link.sendall(chunk)
        assert b" 413 " in link.recv(4096)
    assert _resident(served) - before < 32e6


def _resident(running: Running) -> float:
    assert running.process
    try:
        status = Path(f"/proc/{running.process.pid}/status").read_text()
    except OSError:
        pytest.skip("memory is read from /proc")
    return 1000 * float(status.split("VmRSS:")[1].split()[0])


def test_many_clients_some_of_whom_hang_up(served: Running, scorer: RewardScorer) -> None:
    """64 clients, a thousand texts one by one: nothing lost, nothing mixed up."""
    rng = random.Random(0)
    texts = [f"report {i}: " + rng.choice(["margin ", "毛利率 "]) * (i % 9) for i in range(1000)]
    own = scorer.score_batch([""] * len(texts), texts)
    hung_up = served.metric("reward_hung_up_total")
    answers: dict[int, dict[str, Any]] = {}

    async def client(mine: list[int], session: aiohttp.ClientSession) -> None:
        for i in mine:
            if i % 10 == 7:
                _hang_up(served.port, texts[i])
            body = {"response": texts[i]}
            async with session.post(f"{served.url}/v1/score", json=body) as answer:
                assert answer.status == 200
                answers[i] = (await answer.json())["scores"][0]

    async def all_of_them() -> None:
        links = aiohttp.TCPConnector(limit=64)
        async with aiohttp.ClientSession(connector=links) as session:
            await asyncio.gather(*(client(list(range(n, 1000, 64)), session) for n in range(64)))

    asyncio.run(all_of_them())
    assert sorted(answers) == list(range(1000))
    wrong = [i for i, answer in answers.items() if not near(answer, own[i])]
    assert not wrong
    served.wait(lambda: served.metric("reward_active_requests") == 0)
    assert served.metric("reward_queue_texts") == 0
    assert served.metric("reward_pending_bytes") == 0
    assert served.metric("reward_hung_up_total") > hung_up
    passes = served.metric("reward_pass_texts_count")
    assert served.metric("reward_pass_texts_sum") > 2 * passes, "requests are not joined"


def _hang_up(port: int, text: str) -> None:
    """Ask, and be gone: with a reset, without a word."""
    body = json.dumps({"response": text + " from a client that left"}).encode()
    link = socket.create_connection(("127.0.0.1", port))
    kind = "content-type: application/json"
    head = f"POST /v1/score HTTP/1.1\r\nhost: x\r\n{kind}\r\ncontent-length: {len(body)}\r\n\r\n"
    link.sendall(head.encode() + body)
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.close()


def test_schemathesis_finds_no_server_error(served: Running) -> None:
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, Phase, given, settings

    api = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    operations = [result.ok() for result in api.get_all_operations()]
    assert {o.path for o in operations} >= {"/v1/score", "/get_reward", "/classify", "/health"}
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    checks = [
        not_a_server_error,
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    ]
    right, wrong = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE
    for operation in operations:
        # What is only asked for cannot be asked for wrongly.
        for mode in [right, wrong] if operation.method == "post" else [right]:

            @settings(
                max_examples=25,
                derandomize=True,
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def check(case: Any) -> None:
                case.call_and_validate(checks=checks)

            check()
    assert served.ask("/ready").status == 200


def test_a_key_a_full_queue_and_a_stop(model: Path, tmp_path: Path) -> None:
    """Two models behind a key: ten times their capacity is refused, what is accepted finished."""
    other = save_encoder(tmp_path / "other", seed=1, max_input_length=128)
    scorer = EnsembleScorer.from_pretrained([model, other], how="minimum", device="cpu")
    flags: list[object] = ["--max-queue", 64, "--max-items", 64, "--batch-items", 8]
    flags += ["--with", other, "--how", "minimum"]
    with server(model, *flags, env={"REWARD_MODEL_KEY": "s3cret"}) as running:
        key = {"authorization": "Bearer s3cret"}
        body = {"response": "Up."}
        for headers in ({}, {"authorization": "Bearer other"}, {"authorization": "Basic x"}):
            said = running.ask("/v1/score", body, headers=headers)
            assert (said.status, said.error) == (401, "unauthorized")
            assert "www-authenticate" in said.headers
        assert running.ask("/metrics").status == 401
        assert running.ask("/health").status == running.ask("/").status == 200
        said = running.ask("/v1/score", body, headers=key)
        assert near(said.body["scores"][0], scorer.score("", "Up."))
        assert said.body["scores"][0]["spread"] > 0
        assert said.body["model"]["name"].endswith("+other")
        _overload(running, key, scorer)
        _drain(running, key, scorer)


def _overload(running: Running, key: dict[str, str], scorer: EnsembleScorer) -> None:
    before = _resident(running)
    texts = [f"{i} " * 20 for i in range(640)]
    seen: dict[int, Any] = {}

    async def storm() -> None:
        links = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(
            f"http://any:s3cret@127.0.0.1:{running.port}", connector=links
        ) as session:

            async def one(i: int) -> None:
                items = {"items": [{"response": f"{texts[i]} {n}"} for n in range(10)]}
                async with session.post("/v1/score", json=items) as answer:
                    said = await answer.json()
                    seen[i] = said["scores"] if answer.status == 200 else answer.status
                    if answer.status == 503:
                        assert int(answer.headers["retry-after"]) >= 1

            await asyncio.gather(*map(one, range(len(texts))))

    asyncio.run(storm())
    answered = {i: scores for i, scores in seen.items() if isinstance(scores, list)}
    assert len(seen) == 640
    assert {x for x in seen.values() if isinstance(x, int)} == {503}
    assert answered
    for i, scores in list(answered.items())[:20]:
        own = scorer.score_batch([""] * 10, [f"{texts[i]} {n}" for n in range(10)])
        assert all(near(*both) for both in zip(scores, own, strict=True))
    assert _resident(running) - before < 64e6
    assert running.ask("/v1/score", {"response": "a"}, headers=key).status == 200


def _drain(running: Running, key: dict[str, str], scorer: EnsembleScorer) -> None:
    assert running.process
    texts = [f"accepted {i} " * 10 for i in range(64)]

    async def stop_in_the_middle() -> list[Any]:
        async with aiohttp.ClientSession(headers=key) as session:

            async def one(items: list[dict[str, str]]) -> Any:
                async with session.post(f"{running.url}/v1/score", json={"items": items}) as said:
                    return said.status, await said.json()

            first = asyncio.create_task(one([{"response": t} for t in texts]))
            while True:
                async with session.get(f"{running.url}/metrics") as answer:
                    if "reward_active_requests 1.0" in await answer.text():
                        break
                if first.done():  # too quick to be seen
                    first = asyncio.create_task(one([{"response": t} for t in texts]))
            assert running.process
            running.process.send_signal(signal.SIGTERM)
            late = []
            with contextlib.suppress(aiohttp.ClientConnectionError):  # it has left
                while not first.done():
                    async with session.get(f"{running.url}/ready") as ready:
                        late.append((ready.status, await one([{"response": "late"}])))
            return [await first, late]

    (status, body), late = asyncio.run(stop_in_the_middle())
    assert status == 200
    own = scorer.score_batch([""] * 64, texts)
    assert all(near(*both) for both in zip(body["scores"], own, strict=True))
    refused = [answer for ready, answer in late if ready == 503]
    assert refused, "nothing was asked while it stopped"
    assert all(s == 503 and b["error"]["type"] == "draining" for s, b in refused)
    assert running.process.wait(30) == 0


def test_a_body_that_is_not_there_when_the_server_stops_is_answered(model: Path) -> None:
    with server(model, "--drain", "0.5") as running:
        assert running.process
        with socket.create_connection(("127.0.0.1", running.port), timeout=30) as link:
            head = "POST /v1/score HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
            link.sendall(f"{head}content-length: 1000\r\n\r\n{{".encode())
            running.wait(lambda: running.metric("reward_active_requests") == 1)
            running.process.send_signal(signal.SIGTERM)
            told = b""
            while more := link.recv(4096):
                told += more
        assert b" 503 " in told[:20]
        assert b'"draining"' in told
        assert running.process.wait(30) == 3


def test_a_taken_port_and_a_broken_model_are_told(model: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("reward-model", "serve", model, "--port", taken.getsockname()[1])
    assert done.code == 2
    assert "choose another with --host or --port" in done.stderr
    done = run("reward-model", "serve", model, "--max-items", 300, "--max-queue", 100)
    assert done.code == 2
    assert "--max-items 300 above --max-queue 100" in done.stderr
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in model.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "model.safetensors").write_bytes(b"no weights")
    done = run("reward-model", "serve", broken, "--port", 0)
    assert done.code == 2
    assert "a model that cannot be read" in done.stderr
