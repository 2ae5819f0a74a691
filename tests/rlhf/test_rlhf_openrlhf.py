"""Both ways into OpenRLHF, a file and HTTP, driven by its own code as it stands in its wheel."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT
from tiny_models import save_encoder
from upstream import unpacked

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")

from serving import in_thread

from reward_model.records import UserError
from reward_model.rlhf import openrlhf
from reward_model.score.scorer import RewardScorer
from reward_model.score.serve.settings import Settings

PROMPT = "<|im_start|>user\n利润?<|im_end|>\n<|im_start|>assistant\n"
RESPONSES = ["Up by 2 points.", "毛利率上升。", "Down.", "Flat."]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("openrlhf") / "best")


@pytest.fixture(scope="module")
def scorer(model: Path) -> RewardScorer:
    return RewardScorer.from_pretrained(model, device="cpu")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    try:
        return unpacked("openrlhf", tmp_path_factory.mktemp("wheel"))
    except LookupError as error:
        pytest.skip(str(error))


def rewarded(wheel: Path, folder: Path, endpoint: str, env: dict[str, str]) -> Any:
    samples = [{"query": PROMPT + r + "<|im_end|>", "prompt": PROMPT} for r in RESPONSES]
    asked = folder / "samples.json"
    asked.write_text(json.dumps(samples))
    script = str(ROOT / "tests" / "helpers" / "openrlhf_run.py")
    done = subprocess.run(
        [sys.executable, script, str(wheel), str(asked), endpoint],
        capture_output=True,
        text=True,
        env=os.environ | env,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def as_scored(answer: Any, scorer: RewardScorer) -> None:
    own = scorer.score_batch(["利润?"] * len(RESPONSES), RESPONSES)
    for said, score in zip(answer, own, strict=True):
        assert said["rewards"] == said["scores"] == pytest.approx(score.reward, abs=1e-5)
        logs = said["extra_logs"]
        assert logs["depth"] == pytest.approx(score.levels["depth"], abs=1e-4)
        assert logs["accuracy_sd"] == pytest.approx(score.uncertainty["accuracy"], abs=1e-4)
        assert logs["response_truncated"] == 0.0


def test_openrlhf_calls_the_file(
    wheel: Path, tmp_path: Path, model: Path, scorer: RewardScorer
) -> None:
    env = {"REWARD_MODEL": str(model), "REWARD_MODEL_CHAT_TEMPLATE": "chatml"}
    answer = rewarded(wheel, tmp_path, str(openrlhf.__file__), env)
    as_scored(answer, scorer)


def test_openrlhf_posts_to_the_server(wheel: Path, tmp_path: Path, scorer: RewardScorer) -> None:
    with in_thread(scorer, Settings(chat_template="chatml")) as (served, _):
        answer = rewarded(wheel, tmp_path, f"{served.url}/get_reward", {})
    as_scored(answer, scorer)


def test_what_was_not_declared_is_refused(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REWARD_MODEL", str(model))
    monkeypatch.delenv("REWARD_MODEL_CHAT_TEMPLATE", raising=False)
    with pytest.raises(UserError, match=r"special token.*REWARD_MODEL_CHAT_TEMPLATE=chatml"):
        openrlhf.reward_func([PROMPT + "Up.<|im_end|>"], [PROMPT], [""])
    with pytest.raises(UserError, match=r"\(the response is empty\).*NO_OPINION=0.0"):
        openrlhf.reward_func(["Margins? "], ["Margins?"], [""])
    monkeypatch.setenv("REWARD_MODEL_NO_OPINION", "0.0")
    said = openrlhf.reward_func(["Margins? ", "Margins? Up."], ["Margins?"] * 2, ["", ""])
    assert said["rewards"][0] == 0.0 < said["rewards"][1]
    assert said["extra_logs"]["depth"].isnan().tolist() == [True, False]


def test_rewards_are_float32_whatever_the_process_makes(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REWARD_MODEL", str(model))
    asked = (["Margins?" + r for r in RESPONSES], ["Margins?"] * len(RESPONSES), [""] * 4)
    own = openrlhf.reward_func(*asked)
    torch.set_default_dtype(torch.bfloat16)
    torch.set_default_device("meta")
    try:
        said = openrlhf.reward_func(*asked)
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    assert torch.equal(said["rewards"], own["rewards"])
    for name, column in said["extra_logs"].items():
        assert torch.equal(column.nan_to_num(), own["extra_logs"][name].nan_to_num())
    for wrong in (None, math.nan, b"x", [{"role": "user", "content": "x"}]):
        with pytest.raises(UserError, match=r"as a query; expected a string"):
            openrlhf.reward_func([wrong], ["Margins?"], [""])  # type: ignore[list-item]
    with pytest.raises(UserError, match="1 prompts and 2 responses"):
        openrlhf.reward_func(["a", "b"], ["a"], [""])
