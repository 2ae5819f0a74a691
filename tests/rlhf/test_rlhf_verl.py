"""`compute_score` driven by verl's own reward manager, as it stands in its wheel."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT
from tiny_models import byte_tokenizer, save_encoder
from upstream import unpacked

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")

from serving import Running, in_thread

from reward_model.records import UserError
from reward_model.rlhf.verl import compute_score
from reward_model.score.scorer import RewardScorer
from reward_model.score.serve.settings import Settings


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> RewardScorer:
    folder = save_encoder(tmp_path_factory.mktemp("verl") / "best")
    return RewardScorer.from_pretrained(folder, device="cpu")


@pytest.fixture(scope="module")
def served(scorer: RewardScorer) -> Iterator[Running]:
    with in_thread(scorer, Settings(chat_template="chatml")) as (running, _):
        yield running


def chatml_tokenizer(folder: Path) -> Path:
    """A tokenizer with a chat template, as a policy and its reward model have one."""
    tokenizer = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    )
    tokenizer.save_pretrained(folder)
    return folder


PROMPTS: list[Any] = ["Margins?", [{"role": "user", "content": "利润?"}], "Margins?", "Margins?"]
RESPONSES = ["Up by 2 points.", "毛利率上升。", "Down.", "  "]


@pytest.mark.slow
def test_verl_rewards_samples_with_the_same_keys(
    tmp_path: Path, served: Running, scorer: RewardScorer
) -> None:
    pytest.importorskip("ray")
    try:
        verl = unpacked("verl", tmp_path / "verl")
    except LookupError as error:
        pytest.skip(str(error))
    samples = [
        {"response": r, "extra_info": {"prompt": p, "index": 0}}
        for p, r in zip(PROMPTS, RESPONSES, strict=True)
    ]
    asked = tmp_path / "samples.json"
    asked.write_text(
        json.dumps(
            {
                "samples": samples,
                "kwargs": {"no_opinion": 0.0},
                "address": served.url.removeprefix("http://"),
                "tokenizer": str(chatml_tokenizer(tmp_path / "tokenizer")),
            }
        )
    )
    path = os.pathsep.join([str(verl), str(ROOT / "tests"), str(ROOT)])
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "helpers" / "verl_run.py"), str(asked)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": path, "REWARD_MODEL": served.url},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    own = scorer.score_batch(PROMPTS, RESPONSES)
    assert answer["rewards"] == [pytest.approx(s.reward or 0.0, abs=1e-5) for s in own]
    keys = {"score", "depth", "depth_uncertainty", "no_opinion", "response_truncated"}
    assert all(keys <= row.keys() == answer["extra"][0].keys() for row in answer["extra"])
    assert answer["extra"][0]["depth"] == pytest.approx(own[0].levels["depth"] / 4, abs=1e-5)
    assert [row["no_opinion"] for row in answer["extra"]] == [0, 0, 0, 1]
    # verl's own route to a reward model reads the last number of /classify.
    assert answer["classified"] == [pytest.approx(s.reward, abs=1e-5) for s in own[:3]]
    # GDPO reads two of the keys: the empty answer, the least in both, is behind.
    assert answer["advantages"][3] == min(answer["advantages"]) < 0 < max(answer["advantages"])


def score(response: str = "Up.", **kwargs: Any) -> dict[str, float]:
    given = {"extra_info": {"prompt": "Margins?"}} | kwargs
    return asyncio.run(compute_score("reports", response, None, **given))


def test_a_model_folder_does_as_well(tmp_path: Path) -> None:
    folder = save_encoder(tmp_path / "best")
    own = RewardScorer.from_pretrained(folder, device="cpu").score("Margins?", "Up.", risk=0.5)
    said = score(model=str(folder), risk=0.5, reward_router_address="of another reward")
    assert said["score"] == pytest.approx(own.reward, abs=1e-6)
    careful = (own.levels["depth"] - 0.5 * own.uncertainty["depth"]) / 4
    assert said["depth"] == pytest.approx(careful, abs=1e-6)
    assert said["depth_uncertainty"] == pytest.approx(own.uncertainty["depth"], abs=1e-6)


def test_a_thought_is_not_judged(
    tmp_path: Path, served: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    thought = "<think>\nThe best report of all.\n</think>\n\nUp."
    plain = score("Up.", model=served.url)
    assert score(thought, model=served.url) == plain
    assert score(thought, model=served.url, chat_template="qwen") == plain
    own = tmp_path / "own.toml"
    own.write_text('thinking = ["(", ")"]\n')
    assert score("(hm) Up.", model=served.url) != plain
    assert score("(hm) Up.", model=served.url, chat_template=str(own)) == plain
    monkeypatch.setenv("REWARD_MODEL", served.url)
    monkeypatch.setenv("REWARD_MODEL_CHAT_TEMPLATE", "qwen")
    assert score(thought) == plain
    with pytest.raises(UserError, match="ends within its thought"):
        score("<think>\nLet me")


def test_what_has_no_reward_is_an_error_unless_declared(served: Running) -> None:
    with pytest.raises(UserError, match=r"\(the response is empty\).*no_opinion=0.0"):
        score(" ", model=served.url)
    declared = score(" ", model=served.url, no_opinion=0.1)
    assert (declared["score"], declared["depth"], declared["no_opinion"]) == (0.1, 0.1, 1.0)
    assert math.isnan(declared["depth_uncertainty"])
    with pytest.raises(UserError, match=r"risk -1\.0; expected a number from 0 up"):
        score(model=served.url, risk=-1.0)


def test_a_sample_without_its_prompt_is_refused(served: Running) -> None:
    with pytest.raises(UserError, match=r"no 'prompt' in extra_info \(it has index\)"):
        score(model=served.url, extra_info={"index": 3})
    asked = {"question": "Margins?"}
    assert score(model=served.url, extra_info=asked, prompt_key="question")["score"] > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rsik": 9}, "reward_kwargs.rsik; expected risk"),
        ({"no_opinon": 0.0}, "reward_kwargs.no_opinon; expected no_opinion"),
        ({"risk": "0.5"}, "risk '0.5'"),
        ({"weights": ["depth"]}, "weights ['depth']"),
        ({"weights": {"depth": None}}, "weight of depth None"),
        ({"extra_info": "x"}, "no 'prompt' in extra_info"),
        ({"extra_info": {1: 2}}, "no 'prompt' in extra_info (it has 1)"),
        ({"patience": "5"}, "'5'"),
        ({"fallback_reward": "0"}, "fallback_reward '0'"),
    ],
)
def test_settings_as_a_command_line_of_hydra_has_them(
    served: Running, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        score(model=served.url, **settings)


def test_what_verl_passes_of_its_own_is_left_alone(served: Running) -> None:
    own = score(model=served.url)
    assert score(model=served.url, reward_router_address="x", reward_model_tokenizer=None) == own
