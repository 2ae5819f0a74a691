"""Addresses as people write them, and texts with half of a character."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")

from serving import StandIn, in_thread
from tiny_models import save_encoder

from reward_model.records import UserError
from reward_model.rlhf.address import read_address
from reward_model.rlhf.client import RewardClient
from reward_model.rlhf.source import open_source
from reward_model.rlhf.trl import MultiDimReward
from reward_model.score.scorer import RewardScorer


@pytest.mark.parametrize(
    ("said", "url"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/\n", "http://localhost:8000"),
        (" 10.0.0.7:8000", "http://10.0.0.7:8000"),
        ("[::1]:8000", "http://[::1]:8000"),
        ("HTTPS://rewards.example/team/a/", "https://rewards.example/team/a"),
    ],
)
def test_an_address_is_read(said: str, url: str) -> None:
    assert read_address(said) == (url, None)
    source = open_source(said)
    assert source.origin is not None
    assert (source.origin.is_server, source.origin.model) == (True, url)
    assert RewardClient(said).url == url


@pytest.mark.parametrize(
    "said",
    ["http://a b:8000", "http://a\nb:8000", "http://", "http://h:99999", "http://h:x", "ftp://h:1"],
)
def test_what_is_none_is_said(said: str) -> None:
    with pytest.raises(UserError, match=r"expected http://HOST:PORT"):
        RewardClient(said)


@pytest.mark.parametrize("more", ["?key=s3cret", "#s3cret", "/?"])
def test_an_address_with_a_query_is_refused(more: str) -> None:
    with pytest.raises(UserError, match="more than host, port and path"):
        RewardClient("http://h:8000" + more)


def test_a_key_in_an_address_is_used_and_never_shown() -> None:
    with in_thread(StandIn(), key="s3cret") as (served, _):
        said = f"http://any:s3cret@127.0.0.1:{served.port}"
        with RewardClient(said) as client:
            assert client.score("", "Up.").reward is not None
            assert "s3cret" not in client.url
        reward = pickle.loads(pickle.dumps(MultiDimReward(said)))
        assert reward([""], ["Up."])[0] is not None
        source = open_source(said)
        assert "s3cret" not in repr(source) + str(source.origin)
        source.opened().close()  # type: ignore[attr-defined]
        with (
            RewardClient(f"127.0.0.1:{served.port}") as other,
            pytest.raises(UserError, match=r"401 from .*set REWARD_MODEL_KEY"),
        ):
            other.score("", "Up.")
    with pytest.raises(UserError) as told:
        RewardClient("http://any:s3cret@h:8000?x=1")
    assert "s3cret" not in str(told.value)


def test_half_of_a_character_is_no_opinion(tmp_path: Path) -> None:
    scorer = RewardScorer.from_pretrained(save_encoder(tmp_path / "best"), device="cpu")
    half = "Up \ud83d by 2."
    chat = [{"role": "assistant", "content": half}]
    prompts = ["Margins?", "Margins?", half, [{"role": "user", "content": half}], "Margins?"]
    responses = [half, chat, "Up.", "Up.", "Up."]
    scores = scorer.score_batch(prompts, responses)
    assert [s.reward is None for s in scores] == [True, True, True, True, False]
    assert all("half of a character" in (s.reason or "") for s in scores[:4])
    told = MultiDimReward(scorer)(prompts, responses)
    assert told[:4] == [None] * 4
    with in_thread(scorer) as (served, _), RewardClient(served.url) as client:
        over = client.score_batch(prompts, responses)
    assert [s.reward for s in over] == pytest.approx([s.reward for s in scores])
