"""Every method trains a tiny policy, in one process: the libraries are imported once."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import warm
from commands import run
from conftest import ROOT
from safetensors.torch import load_file, save_file
from tiny_policies import CHATML, save_policy
from toy import write
from transformers import AutoModelForCausalLM, AutoTokenizer

pytest.importorskip("trl", minversion="1.15")

from reward_model.policy.settings import resolve
from reward_model.policy.training.builder import build, read_fields
from reward_model.policy.training.run import alone
from reward_model.policy.training.train import parts_of, prepare, train
from reward_model.records import UserError

PAIRS = [
    {"prompt": f"say {i} please", "chosen": f"yes number {i}", "rejected": f"no {i % 3} bad"}
    for i in range(20)
]
COMMON: dict[str, Any] = {
    "batch_size": 8,
    "device_batch": 4,
    "learning_rate": 1e-3,
    "max_length": 96,
    "max_new_tokens": 8,
}
METHODS: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "dpo": {},
    "ipo": {"loss": "ipo"},
    "sipa": {"loss": "sipa"},
    "pref_po": {"loss": "pref_po", "preference": "Be brief."},
    "orpo": {"method": "orpo"},
    "simpo": {"method": "simpo", "lora_rank": 4},
    "kto": {"method": "kto", "lora_rank": 4},
    "pref_po prefix": {"loss": "pref_po", "preference": "prefix.safetensors"},
    "embeddings": {"virtual_tokens": "4"},
    "grpo": {"method": "grpo", "rewards": ["r.py:short"]},
    "rloo": {"method": "rloo", "rewards": ["r.py:short=0.5", "r.py:even"]},
    "online-dpo": {"method": "online-dpo", "rewards": ["r.py:short"]},
}
REWARDS = """
def short(prompts, completions, **kwargs):
    return [-float(len(str(c))) for c in completions]

def even(prompts, completions, **kwargs):
    return [float(len(str(c)) % 2) for c in completions]
"""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies")
    save_policy(folder / "base")
    write(folder / "pairs.jsonl", PAIRS)
    (folder / "r.py").write_text(REWARDS)
    save_file({"p": torch.randn(3, 32) * 0.2}, folder / "prefix.safetensors")
    return folder


def settings(world: Path, name: str, out: Path, **more: Any) -> Any:
    flags = {**COMMON, **METHODS[name], **more, "base_model": str(world / "base")}
    if "rewards" in flags:
        flags["rewards"] = [f"{world}/{spec}" for spec in flags["rewards"]]
    if str(flags.get("preference", "")).endswith(".safetensors"):
        flags["preference"] = str(world / flags["preference"])
    return resolve(str(world / "pairs.jsonl"), None, {**flags, "output_dir": out})


def weights(folder: Path) -> dict[str, torch.Tensor]:
    (file,) = [*folder.glob("best/*.safetensors"), *folder.glob("adapter/*.safetensors")][:1]
    return load_file(file)


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_a_stopped_run_ends_in_the_same_weights(
    name: str, world: Path, tmp_path: Path
) -> None:
    out = train(settings(world, name, tmp_path / "whole", trl={"max_steps": 2}, eval_steps=1))
    trained = weights(out)
    begun = load_file(world / "base" / "model.safetensors")
    if (out / "best").exists():
        assert any(not torch.equal(trained[k], begun[k]) for k in begun if k in trained)
        AutoModelForCausalLM.from_pretrained(out / "best")
        assert AutoTokenizer.from_pretrained(out / "best").chat_template
    else:
        assert trained.keys() == {"prompt_embeddings"}
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 2
    assert metrics["rows"]["read"] == 20
    # Stopped after its first step: what the end wrote is not there yet.
    stopped = shutil.copytree(out, tmp_path / "stopped")
    shutil.rmtree(stopped / "checkpoints" / "checkpoint-2")
    for left in ("best", "adapter", "metrics.json"):
        place = stopped / left
        shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
    train(settings(world, name, stopped, trl={"max_steps": 2}, eval_steps=1))
    again = weights(stopped)
    assert again.keys() == trained.keys()
    for key, value in trained.items():
        assert torch.equal(again[key], value), key


def batch_of(world: Path, name: str, out: Path, **more: Any) -> tuple[Any, dict[str, Any]]:
    """A run's trainer and its first batch."""
    trainer = build(parts_of(prepare(settings(world, name, out, **more))))
    return trainer, next(iter(trainer.get_train_dataloader()))


def means(model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean log-probabilities by transformers alone, a row at a time, without padding."""
    found = []
    for ids, mask, kept in zip(
        batch["input_ids"], batch["attention_mask"], batch["completion_mask"], strict=True
    ):
        row, answer = ids[mask.bool()], kept[mask.bool()].bool()
        logps = model(input_ids=row[None]).logits[0, :-1].double().log_softmax(-1)
        picked = logps.gather(1, row[1:, None])[:, 0][answer[1:]]
        found.append(picked.mean())
    chosen, rejected = torch.stack(found).chunk(2)
    return chosen, rejected


@torch.no_grad()
@pytest.mark.parametrize("lora", [0, 4])
def test_losses_of_a_trainer_against_transformers(lora: int, world: Path, tmp_path: Path) -> None:
    base = AutoModelForCausalLM.from_pretrained(world / "base").eval()
    sigmoid = torch.nn.functional.logsigmoid
    trainer, batch = batch_of(world, "orpo", tmp_path / "a", lora_rank=lora)
    chosen, rejected = means(base, batch)
    odds = (chosen - (1 - chosen.exp()).log()) - (rejected - (1 - rejected.exp()).log())
    expected = (-chosen - 0.1 * sigmoid(odds)).mean()
    trainer.model.eval()
    assert trainer.ref_model is None
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(
        expected.item(), abs=1e-6
    )
    trainer, batch = batch_of(world, "simpo", tmp_path / "b", lora_rank=lora)
    chosen, rejected = means(base, batch)
    expected = -sigmoid(2 * (chosen - rejected) - 0.5).mean()
    trainer.model.eval()
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(
        expected.item(), abs=1e-6
    )
    trainer, batch = batch_of(world, "pref_po", tmp_path / "c", lora_rank=lora)
    own = means(base, batch)
    told = means(base, {k.removeprefix("guided_"): v for k, v in batch.items() if "guided" in k})
    text = trainer.processing_class.decode(batch["guided_input_ids"][0])
    assert "system\nBe brief.<|im_end|>" in text
    assert "Be brief" not in trainer.processing_class.decode(batch["input_ids"][0])
    plain, guided = own[0] - own[1], told[0] - told[1]
    expected = (-sigmoid(2 * plain) + 0.1 * (guided - plain).relu()).mean()  # KL is 0 at the start
    trainer.model.eval()
    assert trainer.compute_loss(trainer.model, batch).item() == pytest.approx(
        expected.item(), abs=2e-6
    )


def test_fields_of_trl_are_read_by_its_own_parser() -> None:
    from trl import DPOConfig

    found = read_fields(DPOConfig, {"warmup_steps": "5", "lr_scheduler_type": "cosine"})
    assert found["warmup_steps"] == 5
    for given, words in (
        ({"beta": "1"}, "--beta"),
        ({"warmup_step": "1"}, "warmup_steps?"),
        ({"max_steps": "many"}, "invalid int value"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            read_fields(DPOConfig, given)


def test_the_same_command_is_done_and_another_is_refused_by_name(
    world: Path, tmp_path: Path
) -> None:
    words = [world / "pairs.jsonl", "--base-model", world / "base", "--method", "sft"]
    words += ["--output-dir", tmp_path / "run", "--max-length", "96", "--set", "max_steps=1"]
    first = run("reward-model", "policy", "train", *words)
    assert first.code == 0, first.stderr
    assert "FutureWarning" not in first.stderr
    assert "20 read, 20 kept" in first.stderr
    assert "<|im_end|>" in first.stderr
    again = run("reward-model", "policy", "train", *words)
    assert (again.code, "nothing is left to do" in again.stderr) == (0, True)
    other = run("reward-model", "policy", "train", *words, "--lr", "0.1", "--seed", "3")
    assert other.code == 2
    assert "learning-rate, seed" in other.stderr
    kept = json.loads((tmp_path / "run" / "run.json").read_text())
    assert kept["digests"].keys() == {"base", "data"}
    assert kept["resolved"]["learning_rate"] == 2e-5


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--base-model", "reward"], "a reward model"),
        (["--base-model", "lost"], "whose base '/nowhere' is not there"),
        (["--base-model", "nothing"], "no policy folder 'nothing'"),
        (["--method", "kto", "--batch-size", "1"], "at least 2 rows"),
        (["--method", "grpo", "--reward", "http://127.0.0.1:9"], "127.0.0.1:9"),
        (["--method", "grpo", "--reward", "none.py:f"], "no such file"),
        (["--set", "bata=1"], "does not have"),
        (["--max-length", "16"], "answers alone"),
        (["--virtual-tokens", "bad.pt"], "could be code"),
    ],
)
def test_wrong_input_is_one_sentence_before_any_step(
    flags: list[str], words: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    from tiny_models import save_encoder

    if "reward" in flags:
        save_encoder(tmp_path / "reward")
    (tmp_path / "lost").mkdir()
    (tmp_path / "lost" / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "/nowhere", "peft_type": "LORA"}'
    )
    torch.save(Path("x"), tmp_path / "bad.pt")
    given = ["policy", "train", world / "pairs.jsonl", "--output-dir", tmp_path / "out", *flags]
    if "--base-model" not in flags:
        given += ["--base-model", world / "base"]
    found = run("reward-model", *given)
    assert found.code == 2, found.stderr
    assert words in found.stderr.replace("\n", " ")
    assert "Traceback" not in found.stderr
    assert not (tmp_path / "out" / "checkpoints").exists()


def test_a_killed_run_goes_on_by_the_same_command(world: Path, tmp_path: Path) -> None:
    words = [world / "pairs.jsonl", "--base-model", world / "base", "--lr", "1e-3"]
    words += ["--max-length", "96", "--batch-size", "4", "--eval-steps", "1", "--seed", "5"]
    whole = run("reward-model", "policy", "train", *words, "--output-dir", tmp_path / "whole")
    assert whole.code == 0, whole.stderr
    killed = warm.start(
        "reward-model", "policy", "train", *words, "--output-dir", tmp_path / "killed"
    )
    while killed.poll() is None:
        if list((tmp_path / "killed").glob("checkpoints/checkpoint-2/trainer_state.json")):
            killed.kill()
            break
        time.sleep(0.01)
    killed.communicate()
    again = run("reward-model", "policy", "train", *words, "--output-dir", tmp_path / "killed")
    assert again.code == 0, again.stderr
    one, other = weights(tmp_path / "whole"), weights(tmp_path / "killed")
    assert all(torch.equal(value, other[key]) for key, value in one.items())


def test_accumulation_and_device_batch_move_no_loss(world: Path, tmp_path: Path) -> None:
    logged = []
    for at_once in (8, 2):
        out = train(
            settings(
                world, "pref_po", tmp_path / f"run{at_once}", lora_rank=4, device_batch=at_once,
                trl={"max_steps": 2},
            )
        )  # fmt: skip
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        logged.append([line["loss"] for line in lines if "loss" in line])
    assert logged[0] == pytest.approx(logged[1], abs=1e-5)


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_models import save_decoder

    return save_decoder(tmp_path_factory.mktemp("reward") / "reward")


def test_rewards_by_dimension_have_names_and_weights(reward: Path, world: Path) -> None:
    from reward_model.policy.rewards import read_rewards

    found = read_rewards([f"{reward}#*=0.5", f"{world}/r.py:short=0.5", f"{reward}#depth"])
    names = [f.__name__ for f in found.functions]  # type: ignore[attr-defined]
    assert names == ["depth", "professionalism", "accuracy", "short", "depth_2"]
    assert sum(found.weights[:3]) == pytest.approx(0.5)
    assert found.weights[3:] == [0.5, 1.0]
    for spec, words in (
        (f"{reward}#wit", "'wit'"),
        (f"{world}/r.py:long", "no function 'long'"),
        (f"{world}/r.py", "without a function"),
        (f"{reward}=nan", "weight nan"),
    ):
        with pytest.raises(UserError, match=re.escape(words)):
            read_rewards([spec])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('raise KeyError("oops")', "line 2: found a reward that fails (KeyError: 'oops')"),
        ("return [1.0]", "gives [1.0] for 2 answers"),
        ('return ["good"] * 2', "gives ['good', 'good'] for 2 answers"),
        ("return [float('inf'), None]", "gives [inf, None] for 2 answers"),
        ("return None", "gives None for 2 answers"),
    ],
)
def test_a_function_that_gives_no_numbers_is_named(body: str, words: str, tmp_path: Path) -> None:
    from reward_model.policy.rewards import read_rewards

    file = tmp_path / "mine.py"
    file.write_text(f"def mine(prompts, completions, **columns):\n    {body}\n")
    (function,) = read_rewards([f"{file}:mine"]).functions
    with pytest.raises(UserError, match=re.escape(words)):
        function(prompts=["a", "b"], completions=["c", "d"], completion_ids=[[1], [2]])


def test_a_run_refused_before_its_first_step_may_be_mended(world: Path, tmp_path: Path) -> None:
    words = [world / "pairs.jsonl", "--base-model", world / "base", "--output-dir", tmp_path / "o"]
    for wrong in ("bata=1", "max_steps=many"):
        found = run("reward-model", "policy", "train", *words, "--set", wrong)
        assert found.code == 2
        assert wrong.partition("=")[0] in found.stderr
        assert "a run with other" not in found.stderr


def test_risk_lowers_the_rewards_of_models(reward: Path) -> None:
    from reward_model.policy.rewards import read_rewards
    from reward_model.score.scorer import RewardScorer

    asked: Any = (["Which is right?"], ["This one."])
    (score,) = RewardScorer.from_pretrained(reward).score_batch(*asked, risk=0.5)
    functions = read_rewards([str(reward), f"{reward}#depth"], risk=0.5).functions
    whole = functions[0](*asked)[0]
    assert whole == pytest.approx(score.reward)
    plain = read_rewards([str(reward), f"{reward}#depth"]).functions
    assert all(
        less(*asked)[0] < more(*asked)[0] for less, more in zip(functions, plain, strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["dpo", "rloo", "online-dpo"])
def test_a_watched_run_keeps_what_the_gold_reward_likes_best(
    name: str, world: Path, reward: Path, tmp_path: Path
) -> None:
    more = {"rewards": ["r.py:short"]} if name != "dpo" else {}
    out = train(
        settings(
            world, name, tmp_path / "run", **more, watch=str(reward), gold=str(reward),
            watch_prompts=2, trl={"max_steps": 3}, eval_steps=1,
        )
    )  # fmt: skip
    metrics = json.loads((out / "metrics.json").read_text())
    looked = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    golds = {line["step"]: line["eval_gold"] for line in looked if "eval_gold" in line}
    assert golds.keys() == {1, 2, 3}
    assert metrics["best"]["gold"] == max(golds.values())
    assert {"reward", "gold", "reward/depth"} <= metrics["best"].keys()
    kept = load_file(out / "checkpoints" / metrics["kept"] / "model.safetensors")
    best = load_file(out / "best" / "model.safetensors")
    assert all(torch.equal(kept[key], value) for key, value in best.items())


def test_rows_without_a_prompt_are_trained_measured_by_kind_and_talked_to(
    world: Path, tmp_path: Path
) -> None:
    rows = Path(__file__).parents[2] / "docs" / "examples" / "education_bias.jsonl"
    words = [rows, "--base-model", world / "base", "--loss", "sipa", "--lr", "3e-3"]
    words += ["--output-dir", tmp_path / "run", "--test-share", "0.3"]
    bare = run("reward-model", "policy", "train", *words)
    assert (bare.code, "60 of 60 rows without a prompt" in bare.stderr) == (2, True)
    said = run("reward-model", "policy", "train", *words, "--instruction", "Write one sentence.")
    assert said.code == 0, said.stderr
    flags = ["--by", "metadata.bias_type", "--max-new-tokens", "6", "--json", tmp_path / "e.json"]
    said = run("reward-model", "policy", "evaluate", tmp_path / "run", *flags)
    assert said.code in (0, 1), said.stderr
    runs = json.loads((tmp_path / "e.json").read_text())["runs"]
    parts = runs["run"]["slices"]["metadata.bias_type"]
    assert parts.keys() == {"disability", "gender", "income", "region", "school"}
    correct = sum(part["preference_correct"] for part in parts.values())
    assert correct == runs["run"]["preference_correct"]
    assert runs["run"]["preference_accuracy"] > runs["base"]["preference_accuracy"]
    said = run("reward-model", "policy", "chat", tmp_path / "run", "--prompt", "Hello")
    assert (said.code, said.stdout.endswith("\n")) == (0, True)


def test_a_template_that_prints_the_date_is_told_one_and_kept(world: Path, tmp_path: Path) -> None:
    base = shutil.copytree(world / "base", tmp_path / "base")
    template = "{{ strftime_now('%d %b %Y') }} " + CHATML
    (base / "chat_template.jinja").write_text(template)
    flags = {**COMMON, "base_model": str(base), "output_dir": tmp_path / "run"}
    flags |= {"method": "sft", "trl": {"max_steps": 1}}
    config = resolve(str(world / "pairs.jsonl"), None, flags)
    assert prepare(config).frame.rendered("Margins?").startswith("01 Jan 2025 <|im_start|>user")
    train(config)
    best = AutoTokenizer.from_pretrained(tmp_path / "run" / "best")
    assert best.chat_template == template


def test_two_runs_do_not_share_a_folder(world: Path, tmp_path: Path) -> None:
    config = settings(world, "sft", tmp_path / "run")
    with alone(config.folder), pytest.raises(UserError, match="another run is training in"):
        train(config)
    assert not list((tmp_path / "run").glob("*"))


def test_an_older_trl_is_named_with_the_range(tmp_path: Path) -> None:
    folder = tmp_path / "trl-1.12.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: trl\nVersion: 1.12.0\n")
    code = "from reward_model.policy import require_trl; require_trl()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    words = "found trl 1.12.0; expected trl<2,>=1.15, which training of policies needs; pip install"
    assert words in done.stderr


@pytest.mark.slow
def test_two_processes_see_the_losses_of_one_and_fsdp_ends_in_their_weights(
    world: Path, tmp_path: Path
) -> None:
    words = ["policy", "train", world / "pairs.jsonl", "--base-model", world / "base", "--lr", 1e-3]
    words += ["--batch-size", 4, "--max-length", 96, "--set", "max_steps=3"]
    words += ["--set", "logging_steps=1", "--set", "save_strategy=no"]
    done = subprocess.run(
        [sys.executable, ROOT / "tests/helpers/twins.py", *map(str, words)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    logs = [
        [json.loads(line) for line in (tmp_path / name / "log.jsonl").read_text().splitlines()]
        for name in ("one", "two", "spread")
    ]
    one, two, spread = ([line["loss"] for line in log if "loss" in line] for log in logs)
    assert len(one) == 3
    assert two == pytest.approx(one, abs=1e-5)
    assert spread == pytest.approx(two, abs=1e-6)
    alone, together, shared = (weights(tmp_path / name) for name in ("one", "two", "spread"))
    assert shared.keys() == together.keys()
    for name, value in alone.items():
        torch.testing.assert_close(together[name], value, atol=1e-5, rtol=0)
        torch.testing.assert_close(shared[name], together[name], atol=1e-6, rtol=0)
    AutoModelForCausalLM.from_pretrained(tmp_path / "spread" / "best")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--watch", "reward"], "--watch"),
        (["--virtual-tokens", "4"], "--virtual-tokens"),
        (["--loss", "pref_po", "--preference", "p.safetensors"], "--preference of virtual tokens"),
    ],
)
def test_what_needs_a_whole_policy_is_refused_where_weights_are_spread(
    words: list[str], named: str, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    given = [world / "pairs.jsonl", "--base-model", world / "base", "--output-dir", tmp_path / "o"]
    found = run("reward-model", "policy", "train", *given, *words)
    assert found.code == 2
    assert f"{named} with weights that are spread over processes" in found.stderr
    assert not (tmp_path / "o").exists()
