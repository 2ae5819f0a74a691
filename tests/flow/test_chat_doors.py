"""One conversation at every door: the same turns are the prompt, the same words are judged."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from commands import run
from tiny_models import byte_tokenizer, save_encoder

pytest.importorskip("aiohttp")
pytest.importorskip("uvicorn")

from serving import in_thread

from judge.texts import read_texts
from reward_model.data.reading import read_samples
from reward_model.data.tokens.wrapping import Wrapping
from reward_model.records import Message, UserError
from reward_model.records.chat.thoughts import MID_THOUGHT
from reward_model.rlhf import openrlhf
from reward_model.rlhf.client import RewardClient
from reward_model.rlhf.ppo import PPOReward
from reward_model.rlhf.trl import MultiDimReward
from reward_model.rlhf.verl import compute_score
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer
from reward_model.score.serve.settings import Settings

ASKED = [
    {"role": "developer", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Margins?"}], "name": "Li"},
]
CALLED = {"role": "assistant", "content": None, "tool_calls": [{"id": "1", "type": "function"}]}
TOOL = {"role": "tool", "content": "A long table of figures.", "tool_call_id": "1"}
GOOD = {"role": "assistant", "content": "<think>hm</think>\n\nUp by 2.", "reasoning_content": None}
CUT = {"role": "assistant", "content": "<think>let me see"}
PLAIN = (
    (Message(role="system", content="Be brief."), Message(role="user", content="Margins?")),
    "Up by 2.",
)
CHAT = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nMargins?<|im_end|>\n"
OPEN = "<|im_start|>assistant\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_encoder(tmp_path_factory.mktemp("doors") / "best")


@pytest.fixture(scope="module")
def scorer(model: Path) -> RewardScorer:
    return RewardScorer.from_pretrained(model, device="cpu")


@pytest.fixture(scope="module")
def right(scorer: RewardScorer) -> float:
    reward = scorer.score(*PLAIN).reward
    assert reward is not None
    return reward


def rows(path: Path, *values: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(value) + "\n" for value in values))
    return path


def test_the_library(scorer: RewardScorer, right: float) -> None:
    talk = [*ASKED, CALLED, TOOL, GOOD]
    told = scorer.score_batch(["", ASKED, ASKED], [talk, [CALLED, TOOL, GOOD], [CUT]])
    assert [score.reward for score in told[:2]] == pytest.approx([right] * 2, abs=1e-5)
    assert (told[2].reward, told[2].reason) == (None, MID_THOUGHT)
    with pytest.raises(UserError, match=r"an image \(part 1 of message 1\) in a response"):
        scorer.score("", [{"role": "assistant", "content": [{"type": "image_url"}]}])


def test_files_to_score(tmp_path: Path, model: Path, right: float) -> None:
    texts = rows(
        tmp_path / "in.jsonl",
        {"chosen": [*ASKED, CALLED, TOOL, GOOD], "rejected": [*ASKED, CUT]},
        {"prompt": ASKED, "completion": [CALLED, TOOL, GOOD]},
        {"response": [*ASKED, GOOD]},
    )
    out = tmp_path / "out.jsonl"
    assert run("reward-model", "score", model, texts, "--out", out, "--device", "cpu").code == 0
    pair, two, three = (json.loads(line)["reward_model"] for line in out.read_text().splitlines())
    assert [s["reward"] for s in (pair["chosen"], two, three)] == pytest.approx([right] * 3)
    assert pair["rejected"]["reason"] == MID_THOUGHT
    wrong = rows(
        tmp_path / "wrong.jsonl",
        {"chosen": "a", "rejected": [{"role": "assistant", "content": [{"type": "image"}]}]},
    )
    told = run("reward-model", "score", model, wrong, "--out", tmp_path / "x.jsonl")
    assert told.code == 2
    assert "line 1: found an image (part 1 of message 1) in rejected; expected text" in told.stderr


def test_preference_data_keeps_what_the_policy_wrote(
    tmp_path: Path, model: Path, right: float
) -> None:
    other = {"role": "assistant", "content": "Down."}
    texts = rows(
        tmp_path / "in.jsonl",
        {"chosen": [*ASKED, CALLED, TOOL, GOOD], "rejected": [*ASKED, other]},
        {"prompt": ASKED, "completions": [[other], [GOOD], [CUT]]},
    )
    out = tmp_path / "prefs"
    flags = ["--device", "cpu", "--min-margin", "0"]
    told = run("reward-model", "prefer", model, texts, "--out", out, *flags)
    assert told.code == 0, told.stderr
    scores = [json.loads(line)["scores"] for line in (out / "scores.jsonl").open()]
    flat = [score for row in scores for score in row]
    assert flat[0]["reward"] == flat[3]["reward"] == pytest.approx(right, abs=1e-5)
    assert flat[4]["reason"] == MID_THOUGHT
    assert MID_THOUGHT in told.stderr
    made = [json.loads(line) for line in (out / "train.jsonl").open()]
    assert made
    for row in made:
        assert [m["role"] for m in row["prompt"]] == ["system", "user"]
        assert row["prompt"][1]["name"] == "Li"
        sides = [row["chosen"], row["rejected"]]
        whole = next(side for side in sides if side[-1]["content"] == GOOD["content"])
        assert len(whole) == 1 or whole[0]["tool_calls"] == CALLED["tool_calls"]


def test_the_server(scorer: RewardScorer, right: float) -> None:
    with in_thread(scorer, Settings(chat_template="chatml")) as (served, _):
        items = [
            {"prompt": ASKED, "response": [CALLED, TOOL, GOOD]},
            {"response": [*ASKED, GOOD]},
            {"prompt": ASKED, "response": [CUT]},
        ]
        told = served.ask("/v1/score", {"items": items}).body["scores"]
        assert [s["reward"] for s in told[:2]] == pytest.approx([right] * 2, abs=1e-5)
        assert told[2]["reason"] == MID_THOUGHT
        talk = {"messages": [*ASKED, CALLED, TOOL, GOOD]}
        assert served.ask("/classify", talk).body["data"][0]["probs"] == pytest.approx([right])
        query = CHAT + OPEN + "<think>hm</think>Up by 2.<|im_end|>"
        told = served.ask("/get_reward", {"query": [query], "prompts": [CHAT + OPEN]}).body
        assert told["rewards"] == pytest.approx([right], abs=1e-5)
        cut = served.ask("/get_reward", {"query": [CHAT + OPEN + "<think>h"], "prompts": [None]})
        assert cut.status == 422
        assert MID_THOUGHT in cut.body["error"]["message"]
        image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
        wrong = served.ask("/v1/score", {"prompt": [image], "response": "Up."})
        assert wrong.status == 422
        assert "an image (part 1 of message 1) in a prompt" in wrong.body["error"]["message"]
        client = RewardClient(served.url)
        told = client.score_batch([ASKED, ASKED], [[CALLED, TOOL, GOOD], [CUT]])
        client.close()
        assert told[0].reward == pytest.approx(right, abs=1e-5)
        assert told[1].reason == MID_THOUGHT


def test_trainers(
    scorer: RewardScorer, model: Path, right: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    reward = MultiDimReward(scorer, thinking=("(", ")"))
    told = reward([ASKED] * 4, [[CALLED, TOOL, GOOD], "(hm) Up by 2.", [CUT], "(hm"])
    assert told[:2] == pytest.approx([right] * 2, abs=1e-5)
    assert told[2:] == [None, None]
    fields = asyncio.run(
        compute_score("", GOOD["content"], None, {"prompt": ASKED}, model=str(model))
    )
    assert fields["score"] == pytest.approx(right, abs=1e-5)
    with pytest.raises(UserError, match=MID_THOUGHT):
        asyncio.run(compute_score("", CUT["content"], None, {"prompt": ASKED}, model=str(model)))
    monkeypatch.setenv("REWARD_MODEL", str(model))
    monkeypatch.setenv("REWARD_MODEL_CHAT_TEMPLATE", "chatml")
    query = CHAT + OPEN + GOOD["content"] + "<|im_end|>"
    told = openrlhf.reward_func([query], [CHAT + OPEN], [""])["rewards"]
    assert told.tolist() == pytest.approx([right], abs=1e-5)
    policy = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    ids = policy([query], return_tensors="pt")["input_ids"]
    module = PPOReward(scorer, policy, chat_template="chatml")
    state = module.backbone(input_ids=ids).hidden_states[-1]
    assert state[0, -1, 0].item() == pytest.approx(right, abs=1e-5)


def test_data_to_train_on_and_texts_to_judge(tmp_path: Path) -> None:
    levels = {"depth": 3, "accuracy": 2}
    file = rows(
        tmp_path / "data.jsonl",
        {
            "chosen": [*ASKED, CALLED, TOOL, GOOD],
            "rejected": [*ASKED, CUT],
            "scores": {"chosen": levels, "rejected": levels},
        },
        {"prompt": ASKED, "response": [CALLED, TOOL, GOOD], "scores": levels},
        {"prompt": ASKED, "response": CUT["content"], "scores": levels},
    )
    samples, bare = read_samples(file, load_rubric("financial_report"))
    assert bare == 1  # a thought that was cut teaches no level
    assert [max(sample.labels) for sample in samples] == [3, -100, 3]
    for sample in (samples[0], samples[2]):
        assert [(m.role, m.content) for m in sample.prompt if isinstance(m, Message)] == [
            ("system", "Be brief."),
            ("user", "Margins?"),
        ]
        assert sample.response == "Up by 2."
    (report,) = read_texts(file, "chosen", limit=9, seed=0)
    assert report.text == "Up by 2."
    assert report.prompt == "Be brief.\n\nMargins?"


STRICT = (
    "{% set turns = messages %}{% for m in turns %}"
    "{% if m.role not in ('user', 'assistant') %}{{ raise_exception('no ' + m.role) }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('order') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}{% endfor %}"
)


def test_a_strict_template_keeps_the_turns() -> None:
    tokenizer = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    tokenizer.chat_template = STRICT

    def shown(*turns: tuple[str, str]) -> str:
        prompt = tuple(Message(role=role, content=said) for role, said in turns)
        parts = Wrapping(tokenizer, "chat").around(prompt)
        assert parts is not None
        return "".join(
            part if isinstance(part, str) else tokenizer.decode(part) for part in parts.asked
        )

    talk = (("user", "A?"), ("assistant", "B."), ("user", "C?"))
    assert shown(("system", "S."), *talk) == "S.\n\nA?<assistant>B.<user>C?"
    with_tool = shown(*talk[:2], ("tool", "14%"), ("user", "C?"))
    assert with_tool == "A?<assistant>B.<user>14%\n\nC?"
    assert shown(("assistant", "Hi."), ("user", "A?"), ("assistant", "B.")) == "Hi.\n\nA?\n\nB."
