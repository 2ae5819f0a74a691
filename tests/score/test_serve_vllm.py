"""What clients of vLLM's pooling models send to the server, over HTTP, and what they read of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import Running, server
from tiny_models import save_encoder

from reward_model.score.scorer import RewardScorer

ANSWER = "The gross margin fell to 35%."


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("served") / "best", max_input_length=128)


@pytest.fixture(scope="module")
def scorer(model: Path) -> RewardScorer:
    return RewardScorer.from_pretrained(model, device="cpu")


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[Running]:
    with server(model, env={"REWARD_MODEL_KEY": "s3cret"}) as running:
        yield running


KEY = {"authorization": "Bearer s3cret"}


def ask(served: Running, path: str, body: Any) -> Any:
    said = served.ask(path, body, headers=KEY)
    assert said.status == 200, said.body
    assert said.body["object"] == "list"
    assert said.body["id"]
    assert said.body["created"] > 1_600_000_000
    assert said.body["usage"]["prompt_tokens"] == said.body["usage"]["total_tokens"] > 0
    assert [one["index"] for one in said.body["data"]] == list(range(len(said.body["data"])))
    return said.body


def test_models_say_which_one_is_served(served: Running) -> None:
    said = served.ask("/v1/models", headers=KEY)
    (card,) = said.body["data"]
    assert (said.body["object"], card["object"], card["max_model_len"]) == ("list", "model", 128)
    assert card["id"].endswith("/best")
    assert card["root"] == card["id"]
    assert ask(served, "/classify", {"model": card["id"], "input": ANSWER})["model"] == card["id"]
    assert served.ask("/v1/models").status == 401
    assert served.ask("/v1/models", method="HEAD", headers=KEY).status == 200


def test_texts_and_token_ids_have_the_same_reward(served: Running, scorer: RewardScorer) -> None:
    """One or several; with the tokens that a tokenizer puts around a text, or without them."""
    reward = pytest.approx(scorer.score("", ANSWER).reward, abs=1e-5)
    bare = scorer.tokenizer(ANSWER, add_special_tokens=False)["input_ids"]
    whole = scorer.tokenizer(ANSWER)["input_ids"]
    assert len(whole) > len(bare)
    for path, read in (
        ("/classify", lambda one: one["probs"]),
        ("/pooling", lambda one: one["data"]),
    ):
        for given, several in (
            (ANSWER, 1),
            ([ANSWER, ANSWER], 2),
            (bare, 1),
            (whole, 1),
            ([bare, whole], 2),
        ):
            body = {"input": given, "truncate_prompt_tokens": -1, "use_activation": False}
            found = ask(served, path, body)["data"]
            assert [read(one) for one in found] == [[reward]] * several
    talk = [{"role": "user", "content": "Margins?"}, {"role": "assistant", "content": ANSWER}]
    (one,) = ask(served, "/pooling", {"messages": talk, "task": "classify"})["data"]
    own = scorer.score("Margins?", ANSWER).reward
    assert one == {"index": 0, "object": "pooling", "data": [pytest.approx(own, abs=1e-5)]}


def test_pairs_are_prompts_and_responses(served: Running, scorer: RewardScorer) -> None:
    """One to one, one to many, as many of each, under all of vLLM's names."""
    own = [scorer.score("Margins?", answer).reward for answer in (ANSWER, "Up.")]
    near = [pytest.approx(reward, abs=1e-5) for reward in own]
    for first, second in (
        ("text_1", "text_2"),
        ("queries", "documents"),
        ("queries", "items"),
        ("data_1", "data_2"),
    ):
        for asked in ("Margins?", ["Margins?"], ["Margins?", "Margins?"]):
            found = ask(served, "/score", {"model": "any", first: asked, second: [ANSWER, "Up."]})
            assert [one["score"] for one in found["data"]] == near
    (one,) = ask(served, "/score", {"text_1": "Margins?", "text_2": ANSWER})["data"]
    assert one == {"index": 0, "object": "score", "score": near[0]}


@pytest.mark.parametrize(
    ("path", "body", "status", "words", "param"),
    [
        ("/classify", {"input": [10**6]}, 422, "token id 1000000", "input"),
        ("/classify", {"input": [[5, -1]]}, 422, "token id -1", "input"),
        ("/classify", {"input": []}, 422, "input", "input"),
        ("/classify", {"input": ["a", 5]}, 422, "input", "input"),
        ("/classify", {"model": "any"}, 422, "input: ", "input"),
        ("/pooling", {"input": "a", "task": "token_classify"}, 422, "task: ", "task"),
        ("/pooling", {"input": "a", "encoding_format": "base64"}, 422, "encoding", None),
        ("/pooling", {"messages": [{"role": "user", "content": "a"}]}, 422, "last", "messages"),
        ("/score", {"text_1": ["a", "b"], "text_2": ["c"]}, 422, "2 texts before", "text_2"),
        ("/score", {"text_1": "a"}, 422, "text_2: ", "text_2"),
        ("/score", {"text_1": "a", "text_2": " "}, 422, "no reward", None),
        ("/score", {"text_1": [1], "text_2": "a"}, 422, "text_1", None),
        ("/score", b"{", 400, "broken", None),
        ("/pooling", None, 405, "", None),
    ],
)
def test_errors_have_the_keys_that_clients_read(
    served: Running, path: str, body: Any, status: int, words: str, param: str | None
) -> None:
    said = served.ask(path, body, headers=KEY)
    error = said.body["error"]
    assert (said.status, error["code"]) == (status, status)
    assert words in error["message"]
    assert error["type"]
    assert param is None or error["param"].startswith(param)


def test_the_key_is_asked_for_at_every_door(served: Running) -> None:
    for path in ("/classify", "/pooling", "/score"):
        said = served.ask(path, {"input": ANSWER})
        assert (said.status, said.error, said.body["error"]["code"]) == (401, "unauthorized", 401)
