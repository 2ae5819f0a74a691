"""Training for real, small: it learns, repeats, goes on after a kill, and says what is wrong."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import toy
import warm
from safetensors.torch import load_file, save_file
from transformers import EvalPrediction, Qwen2Config, Qwen2Model

from reward_model.data.dataset import MultiDimRewardDataset, Sample
from reward_model.data.reading import find_rubric
from reward_model.data.split import read_split
from reward_model.model.batches import collate, pad_id
from reward_model.model.folder import load_bundle
from reward_model.records import UserError
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer
from reward_model.train.checkpoints import last_checkpoint
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.prepare import prepare
from reward_model.train.progress import TrainingBar
from reward_model.train.run import make_trainer, train
from reward_model.train.tiny import train_tokenizer
from reward_model.train.validation import ValidationMetrics, level_weights

RUBRIC = load_rubric("financial_report")
QUICK: dict[str, Any] = {
    "base_model": "tiny",
    "max_length": 64,
    "epochs": 2,
    "batch_size": 8,
    "eval_share": 0.2,
    "test_share": 0.1,
}


def config(scored: Path, out: Path, **flags: Any) -> TrainConfig:
    return resolve(scored, out, None, {**QUICK, **flags})


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write(tmp_path_factory.mktemp("toy") / "scored.jsonl", toy.pairs(RUBRIC, 40))


@pytest.fixture(scope="module")
def trained(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folder of a run that had the time to learn."""
    out = tmp_path_factory.mktemp("run")
    train(config(scored, out, epochs=12))
    return out


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def test_it_learns_what_the_words_say(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text("utf-8"))
    losses = [entry["loss"] for entry in metrics["history"]]
    assert losses[-1] < losses[0]
    assert metrics["validation"]["pair_accuracy"] >= 0.9
    assert metrics["validation"]["qwk"] > 0.5


def test_the_output_folder_is_complete(trained: Path, scored: Path) -> None:
    best = {file.name for file in (trained / "best").iterdir()}
    assert {"model.safetensors", "config.json", "rubric.json", "README.md", "split.json"} <= best
    settings = json.loads((trained / "train_config.json").read_text("utf-8"))
    assert settings["epochs"] == 12
    split = read_split(trained / "best")
    assert len(set().union(*split.groups.values())) == 10
    bundle = load_bundle(trained / "best")
    dataset = MultiDimRewardDataset.from_file(scored, bundle.rubric, bundle.builder)
    held_out = split.select(dataset.samples, "test")
    rows = bundle.builder.build([s.prompt for s in held_out], [s.response for s in held_out])
    with torch.no_grad():
        logits = bundle.model(**collate(rows, pad_id(bundle.tokenizer))).logits
    levels = (logits.softmax(-1) @ torch.arange(5.0)).mean(1)
    assert levels[0::2].mean() > levels[1::2].mean() + 0.5


def test_a_run_of_an_older_version_counts_as_the_same_run(
    trained: Path, scored: Path, tmp_path: Path
) -> None:
    older = shutil.copytree(trained, tmp_path / "run")
    settings = json.loads((older / "train_config.json").read_text("utf-8"))
    newer = ("head_type", "head_activation", "head_width")
    kept = {name: value for name, value in settings.items() if name not in newer}
    (older / "train_config.json").write_text(json.dumps(kept), "utf-8")
    before = (older / "best" / "model.safetensors").stat().st_mtime_ns
    train(config(scored, older, epochs=12), resume=True)
    assert (older / "best" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(UserError, match="a run with other head_type"):
        train(config(scored, older, epochs=12, head_type="linear"), resume=True)


def test_the_best_model_is_found_where_the_folder_was_moved(trained: Path, scored: Path) -> None:
    # Killed after the last checkpoint and before the end was written.
    moved = trained.rename(trained.with_name("elsewhere"))
    try:
        kept = weights(moved / "best")
        (moved / "metrics.json").rename(moved / "metrics.old")
        shutil.rmtree(moved / "best")
        last = moved / "checkpoints" / "checkpoint-999"
        shutil.copytree(last_checkpoint(moved) or last, last)
        spoilt = {name: weight + 1 for name, weight in weights(last).items()}
        save_file(spoilt, last / "model.safetensors", metadata={"format": "pt"})
        train(config(scored, moved, epochs=12))
        again = weights(moved / "best")
        assert all(torch.equal(kept[name], again[name]) for name in kept)
    finally:
        moved.rename(trained)


def test_another_split_or_rubric_is_another_run(scored: Path, tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 40)
    file = toy.write(tmp_path / "scored.jsonl", rows)
    rubric = tmp_path / "rubric.toml"
    shipped = Path(str(files("reward_model") / "rubrics" / "financial_report.toml"))
    rubric.write_text(shipped.read_text("utf-8"), "utf-8")
    train(config(file, tmp_path / "out", epochs=1, rubric=str(rubric)))
    for row in rows:
        if row["metadata"]["prompt_id"] < "c5":
            row["metadata"]["field"] = "金融业"
    toy.write(file, rows)
    with pytest.raises(UserError, match="a run with other data"):
        train(config(file, tmp_path / "out", epochs=1, rubric=str(rubric)), resume=True)
    toy.write(file, toy.pairs(RUBRIC, 40))
    rubric.write_text(
        shipped.read_text("utf-8").replace("weight = 1.0", "weight = 2.0", 1), "utf-8"
    )
    with pytest.raises(UserError, match="a run with other levels or weights in the rubric"):
        train(config(file, tmp_path / "out", epochs=1, rubric=str(rubric)), resume=True)


def test_the_best_checkpoint_is_the_one_kept(trained: Path) -> None:
    metrics = json.loads((trained / "metrics.json").read_text("utf-8"))
    best = max(metrics["history"], key=lambda entry: entry["qwk"])
    assert metrics["validation"]["qwk"] == best["qwk"]
    assert metrics["best_step"] == best["step"]


def test_the_same_seed_gives_the_same_numbers(scored: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        train(config(scored, tmp_path / name))
    first, second = weights(tmp_path / "a" / "best"), weights(tmp_path / "b" / "best")
    assert all(torch.equal(first[key], second[key]) for key in first)
    assert (tmp_path / "a" / "metrics.json").read_bytes() == (
        tmp_path / "b" / "metrics.json"
    ).read_bytes()
    train(config(scored, tmp_path / "c", seed=1))
    third = weights(tmp_path / "c" / "best")
    assert not torch.equal(first["heads.0.out.weight"], third["heads.0.out.weight"])


@pytest.mark.slow
def test_killed_and_resumed_is_as_if_never_killed(scored: Path, tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    settings = {"epochs": 12, "eval_steps": 2, "batch_size": 4, "test_share": 0.15}
    file = tmp_path / "settings.toml"
    file.write_text("".join(f"{k} = {v}\n" for k, v in settings.items()), "utf-8")
    shared = ["--max-length", "64", "--eval-share", "0.2", "--config", str(file)]
    flags = {**settings, "max_length": 64, "eval_share": 0.2}
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "reward_model", "train", str(scored), "--base-model", "tiny"),
            *("--output-dir", str(cut), *shared),
        ],
        env={**os.environ, "OMP_NUM_THREADS": str(torch.get_num_threads())},
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 500
    while process.poll() is None and time.monotonic() < deadline:
        found = last_checkpoint(cut)
        if found is not None and int(found.name.split("-")[1]) >= 6:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (cut / "metrics.json").exists(), "killed too late to show anything"
    # A checkpoint that was being written when the kill came is passed over.
    torn = cut / "checkpoints" / "checkpoint-999"
    torn.mkdir()
    (torn / "trainer_state.json").write_text('{"best_metric": 0.')
    goes_on = last_checkpoint(cut)
    assert goes_on is not None
    assert goes_on.name != torn.name
    with pytest.raises(UserError, match="a run with other learning_rate"):
        train(config(scored, cut, **flags, learning_rate=0.1), resume=True)
    train(config(scored, cut, **flags), resume=True)
    train(config(scored, whole, **flags))
    first, second = weights(whole / "best"), weights(cut / "best")
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=1e-6, rtol=0, msg=key)
    # What is finished is left alone.
    stamp = (cut / "best" / "model.safetensors").stat().st_mtime_ns
    train(config(scored, cut, **flags), resume=True)
    assert (cut / "best" / "model.safetensors").stat().st_mtime_ns == stamp


def test_a_checkpoint_without_weights_of_the_model_is_refused(
    trained: Path, scored: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(trained, out)
    shutil.rmtree(out / "best")
    (out / "metrics.json").unlink()
    last = last_checkpoint(out)
    assert last is not None
    file = last / "model.safetensors"
    other = {name.replace("backbone.", "other."): w for name, w in load_file(file).items()}
    save_file(other, file, metadata={"format": "pt"})
    with pytest.raises(
        UserError, match=r"without \d+ of the model's weights \(backbone.*--overwrite"
    ):
        train(config(scored, out, epochs=12), resume=True)
    assert not (out / "best").exists()


def test_the_token_budget_changes_nothing_that_is_learned(scored: Path, tmp_path: Path) -> None:
    ends = []
    for tokens in (4096, 100):
        run = prepare(
            config(
                scored,
                tmp_path / str(tokens),
                batch_tokens=tokens,
                head_dropout=0.0,
                max_steps=3,
                eval_share=0.0,
                label_smoothing=0.1,
                pair_weight=0.5,
                gap_weight=0.5,
            )
        )
        make_trainer(run, TrainingBar()).train()
        ends.append({k: v.clone() for k, v in run.model.state_dict().items()})
    # Where a gradient is next to nothing, Adam makes a step of its rounding: steps are 5e-3.
    for key in ends[0]:
        torch.testing.assert_close(ends[0][key], ends[1][key], atol=5e-4, rtol=1e-3, msg=key)


def test_the_pairwise_term_pulls_the_sides_apart(scored: Path, tmp_path: Path) -> None:
    gaps = []
    for weight in (0.0, 10.0):
        out = tmp_path / str(weight)
        # Heads that hardly move on the levels alone in so few steps.
        train(config(scored, out, epochs=3, pair_weight=weight))
        dataset = MultiDimRewardDataset.from_file(scored)
        scorer = RewardScorer.from_pretrained(out / "best")
        scores = scorer.score_batch(
            [s.prompt for s in dataset.samples], [s.response for s in dataset.samples]
        )
        rewards = [score.reward or 0.0 for score in scores]
        gaps.append(sum(rewards[0::2]) - sum(rewards[1::2]))
    assert gaps[1] > gaps[0] + 1


def test_the_gap_term_brings_the_sides_as_far_apart_as_their_labels(
    scored: Path, tmp_path: Path
) -> None:
    dataset = MultiDimRewardDataset.from_file(scored)
    labels = np.array([sample.labels for sample in dataset.samples])
    off = []
    for weight in (0.0, 10.0):
        out = tmp_path / str(weight)
        train(config(scored, out, epochs=3, gap_weight=weight))
        scorer = RewardScorer.from_pretrained(out / "best")
        scores = scorer.score_batch(
            [s.prompt for s in dataset.samples], [s.response for s in dataset.samples]
        )
        level = np.array([list((score.levels or {}).values()) for score in scores])
        missed = (level[0::2] - level[1::2]) - (labels[0::2] - labels[1::2])
        off.append(np.abs(missed).mean())
    assert off[1] < 0.7 * off[0], off


def test_heads_may_learn_at_a_rate_of_their_own(scored: Path, tmp_path: Path) -> None:
    for rate in (1e-9, 1e-2):
        train(config(scored, tmp_path / str(rate), learning_rate=1e-9, head_learning_rate=rate))
    still, moved = (weights(tmp_path / str(rate) / "best") for rate in (1e-9, 1e-2))
    for name, weight in still.items():
        change = (moved[name] - weight).abs().max()
        assert (change > 1e-3) if name.startswith("heads.") else (change < 1e-6), name


def bias_rows() -> list[dict[str, Any]]:
    """Pairs of another domain: no prompt, `meta.bias_type`."""
    rows = []
    for i in range(12):
        rows.append(
            {
                "chosen": f"Every learner can do well in physics; evidence number {i} shows it.",
                "rejected": f"Girls are bad at physics, everybody knows that, number {i}.",
                "meta": {"bias_type": ["gender", "region"][i % 2]},
                "scores": {
                    "chosen": {"fairness": 4, "inclusiveness": 3, "evidence": 3 + i % 2},
                    "rejected": {"fairness": i % 2, "inclusiveness": 1, "evidence": None},
                },
            }
        )
    return rows


@pytest.mark.slow
def test_every_rubric_trains_a_step(real_data: Path, tmp_path: Path) -> None:
    lines = (real_data / "helpsteer_single.jsonl").open(encoding="utf-8")
    helpsteer = [json.loads(line) for line, _ in zip(lines, range(30), strict=False)]
    text = (Path(__file__).parents[2] / "reward_model/rubrics/financial_report.toml").read_text(
        "utf-8"
    )
    nine = tmp_path / "nine.toml"
    nine.write_text(text.replace("\nscale = 4\n", "\nscale = 9\n"), "utf-8")
    cases: list[tuple[str, list[dict[str, Any]], int, int]] = [
        ("financial_report", toy.pairs(RUBRIC, 10), 3, 5),
        ("helpsteer", helpsteer, 5, 5),
        ("education_bias", bias_rows(), 3, 5),
        (str(nine), toy.pairs(load_rubric(nine), 10), 3, 10),
    ]
    for i, (rubric, rows, dimensions, levels) in enumerate(cases):
        path = toy.write(tmp_path / f"{i}.jsonl", rows)
        run = prepare(config(path, tmp_path / str(i), rubric=rubric, max_steps=1))
        before = {k: v.clone() for k, v in run.model.state_dict().items()}
        make_trainer(run, TrainingBar()).train()
        after = run.model.state_dict()
        moved = [k for k in before if not torch.equal(before[k], after[k])]
        assert any(k.startswith("heads.") for k in moved)
        assert any(k.startswith("backbone.") for k in moved)
        config_ = run.model.config
        assert (len(config_.dimensions), config_.num_levels) == (dimensions, levels)


def test_a_decoder_trains_with_pad_equal_to_eos(scored: Path, tmp_path: Path) -> None:
    tokenizer = train_tokenizer([p["chosen"] for p in toy.pairs(RUBRIC, 20)], 300, 128)
    tokenizer.eos_token = tokenizer.pad_token = "[SEP]"
    tokenizer.padding_side = "left"
    folder = tmp_path / "qwen2"
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    Qwen2Model(
        Qwen2Config(
            vocab_size=len(tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
            pad_token_id=3,
            eos_token_id=3,
        )
    ).save_pretrained(folder)
    best = train(config(scored, tmp_path / "out", base_model=str(folder), learning_rate=3e-3))
    bundle = load_bundle(best)
    assert bundle.model.config.pooling == "last"
    rows = bundle.builder.build(["", ""], ["because driven margin", "maybe some thing good"])
    with torch.no_grad():
        both = bundle.model(**collate(rows, pad_id(bundle.tokenizer))).logits
        one = bundle.model(**collate(rows[:1], pad_id(bundle.tokenizer))).logits
    torch.testing.assert_close(both[:1], one, atol=1e-5, rtol=0)
    assert not torch.allclose(both[0], both[1], atol=1e-4)


def test_a_loss_that_is_no_number_stops_and_keeps_what_was_good(
    scored: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    with pytest.raises(UserError, match="a loss that is no number"):
        train(config(scored, out, learning_rate=1e30, max_grad_norm=0.0, epochs=3))
    assert not (out / "metrics.json").exists()


def test_a_loss_that_is_no_number_later_on_leaves_the_last_good_model(
    scored: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    flags = {"eval_steps": 1, "warmup_share": 0.9, "epochs": 4, "max_grad_norm": 0.0}
    # The rate rises from 0: the first steps are harmless, and then the weights explode.
    with pytest.raises(UserError, match=r"no number.*the last good checkpoint is kept"):
        train(config(scored, out, learning_rate=1e30, **flags))
    assert not (out / "metrics.json").exists()
    score = RewardScorer.from_pretrained(out / "best").score("", "because driven margin")
    assert score.reward is not None
    assert 0 <= score.reward <= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("room", "message"),
    [(20_000, "a temporary folder that cannot be written to"), (100_000, "error:")],
)
def test_a_full_disk_is_said_and_the_model_that_stood_there_stays_whole(
    room: int, message: str, scored: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    train(config(scored, out, max_steps=2))
    before = weights(out / "best")

    child = warm.start(
        *("reward-model", "train", scored, "--base-model", "tiny", "--output-dir", out),
        *("--max-length", 64, "--seed", 3, "--epochs", 1, "--overwrite"),
        largest_file=room,
    )
    _, err = child.communicate(timeout=300)
    assert child.returncode == 2, err
    assert "Traceback" not in err
    assert message in " ".join(err.split())
    after = weights(out / "best")
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("power", [0.5, 1.0])
def test_class_weights_keep_the_mean_loss(scored: Path, power: float) -> None:
    dataset = MultiDimRewardDataset.from_file(scored)
    share = level_weights(dataset.samples, dataset.rubric, power)
    for d in range(3):
        mean = sum(float(share[d, s.labels[d]]) for s in dataset.samples) / len(dataset)
        assert mean == pytest.approx(1.0)


def test_settings_come_from_defaults_file_and_flags(scored: Path, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text("epochs = 7\nseed = 3\n", "utf-8")
    settings = resolve(scored, None, file, {"seed": 5, "rubric": None})
    assert (settings.epochs, settings.seed, settings.batch_size) == (7, 5, 16)
    assert resolve(scored, None, file, {"base_model": "tiny"}).learning_rate >= 1e-3
    file.write_text('epochs = -1\ncolour = "red"\n', "utf-8")
    with pytest.raises(UserError, match=r"2 mistakes.*epochs.*colour") as error:
        resolve(scored, None, file, {})
    assert error.value.path == file
    file.write_text("epochs = 7\n", "utf-8")
    with pytest.raises(UserError, match=r"1 mistake: learning_rate: 0\.0") as error:
        resolve(scored, None, file, {"learning_rate": 0.0})
    assert error.value.path is None  # a flag said so, not the file


def bad(tmp_path: Path, name: str, content: bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def test_wrong_input_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    good = [json.dumps(row, ensure_ascii=False) for row in toy.pairs(RUBRIC, 8)]
    cases = {
        "empty": (bad(tmp_path, "empty.jsonl", b""), "an empty file", None),
        "broken": (
            bad(tmp_path, "b.jsonl", "\n".join([*good[:6], good[6][:40], good[7]]).encode()),
            "broken JSON",
            7,
        ),
        "encoding": (bad(tmp_path, "c.jsonl", "\n".join(good).encode("gb18030")), "UTF-8", 1),
        "folder": (tmp_path / "folder", "folder", None),
        "missing": (tmp_path / "none.jsonl", "no such file", None),
    }
    (tmp_path / "folder").mkdir()
    for name, (path, words, line) in cases.items():
        out = tmp_path / f"out-{name}"
        with pytest.raises(UserError, match=words) as error:
            train(config(path, out))
        assert (error.value.path, error.value.line) == (path, line), name
        assert not out.exists(), name


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"base_model": "no/such/folder"}, "no model folder 'no/such/folder'"),
        ({"rubric": "beauty"}, "unknown rubric 'beauty'"),
        ({"eval_share": 0.6, "test_share": 0.5}, "something left to train on"),
        ({"max_length": 12}, "max_length 12"),
        ({"seed": -1}, r"seed: -1 \(input should be greater than or equal to 0"),
        ({"epochs": float("inf")}, r"epochs: inf \(input should be a finite number"),
    ],
)
def test_wrong_settings_are_refused(
    scored: Path, tmp_path: Path, flags: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        train(config(scored, tmp_path / "out", **flags))
    assert not (tmp_path / "out").exists()


def test_too_few_positions_are_named(scored: Path, tmp_path: Path, trained: Path) -> None:
    backbone = tmp_path / "backbone"
    bundle = load_bundle(trained / "best")
    bundle.model.backbone.save_pretrained(backbone)
    bundle.tokenizer.save_pretrained(backbone)
    with pytest.raises(UserError, match=r"has 64 positions.*pass --max-length 64"):
        train(config(scored, tmp_path / "out", base_model=str(backbone), max_length=65))
    with pytest.raises(UserError, match=r"window 65 .*has 64 positions"):
        train(config(scored, tmp_path / "out", base_model=str(backbone), window=65, max_length=99))
    flags = {"window": 64, "max_length": 99, "pooling": "cls"}
    with pytest.raises(UserError, match="window 64 with cls pooling"):
        train(config(scored, tmp_path / "out", base_model=str(backbone), **flags))
    with pytest.raises(UserError, match="a trained reward model"):
        train(config(scored, tmp_path / "out", base_model=str(trained / "best")))


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path) -> None:
    rows = toy.pairs(RUBRIC, 4)
    rows[2]["scores"]["chosen"]["depth"] = 5
    path = toy.write(tmp_path / "a.jsonl", rows)
    done = subprocess.run(
        [sys.executable, "-m", "reward_model", "labels", str(path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"{path}, line 3: found level 5 in scores.chosen.depth" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_the_rubric_of_a_model_is_that_of_its_data(trained: Path, scored: Path) -> None:
    assert load_bundle(trained / "best").rubric == find_rubric(scored)


def test_the_page_names_every_setting() -> None:
    page = (Path(__file__).parents[2] / "docs" / "train.md").read_text("utf-8")
    missing = [name for name in TrainConfig.model_fields if f"`{name}`" not in page]
    assert missing == ["scored"]  # the argument itself


def test_the_loss_is_reported_where_it_was_asked_for(scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    train(config(scored, out, max_steps=2, logging_steps=1, report_to="tensorboard"))
    assert list(out.rglob("events.out.tfevents.*"))
    with pytest.raises(UserError, match=r"report_to 'nonsense' \(nonsense is not supported"):
        train(config(scored, tmp_path / "none", report_to="nonsense"))
    assert not (tmp_path / "none").exists()


def test_without_pairs_to_validate_on_the_loss_picks(scored: Path, tmp_path: Path) -> None:
    rows = [
        {
            "id": r["id"],
            "prompt": r["prompt"],
            "response": r["chosen"],
            "scores": r["scores"]["chosen"],
        }
        for r in toy.pairs(RUBRIC, 40)
    ]
    out = tmp_path / "out"
    train(config(toy.write(tmp_path / "single.jsonl", rows), out, best_metric="pair_accuracy"))
    metrics = json.loads((out / "metrics.json").read_text("utf-8"))
    assert "no pair among the validation texts" in " ".join(metrics["remarks"])


def test_a_dimension_of_one_label_says_nothing_about_agreement() -> None:
    samples = [Sample("p", "r", (2, i % 5, i % 3), f"g{i}", "single", f"s{i}") for i in range(20)]
    truth = np.array([sample.labels for sample in samples])
    logits = 9.0 * np.eye(5)[truth]
    metrics = ValidationMetrics(samples, RUBRIC)
    assert metrics(EvalPrediction(logits, truth))["qwk"] == pytest.approx(1)
    logits[0, 0] = 9.0 * np.eye(5)[3]
    found = metrics(EvalPrediction(logits, truth))
    assert found["qwk"] == pytest.approx(1)
    assert f"qwk_{RUBRIC.names[0]}" not in found


def test_having_learned_nothing_is_said(
    trained: Path, scored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "no better than chance on the validation texts"
    assert words not in (trained / "metrics.json").read_text("utf-8")
    # Of the commonest level alone, which says nothing of a text.
    train(config(scored, tmp_path / "out", epochs=1, learning_rate=1e-30, head_type="linear"))
    printed = " ".join(capsys.readouterr().err.split())
    assert words in printed
    assert words in (tmp_path / "out" / "best" / "README.md").read_text("utf-8")


def test_training_stops_when_nothing_is_gained(scored: Path, tmp_path: Path) -> None:
    flags = {"epochs": 30, "eval_steps": 1, "patience": 2, "learning_rate": 1e-30}
    train(config(scored, tmp_path / "out", **flags))
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text("utf-8"))
    assert metrics["steps"] == 3
    assert metrics["best_step"] == 1


def test_checkpointed_gradients_are_the_same(scored: Path, tmp_path: Path, trained: Path) -> None:
    base = tmp_path / "base"
    bundle = load_bundle(trained / "best")
    Qwen2Model(
        Qwen2Config(
            vocab_size=len(bundle.tokenizer),
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
        )
    ).save_pretrained(base)
    bundle.tokenizer.save_pretrained(base)
    flags = {"base_model": str(base), "max_steps": 3, "learning_rate": 1e-3, "pooling": "mean"}
    for name, value in (("plain", False), ("checkpointed", True)):
        train(config(scored, tmp_path / name, gradient_checkpointing=value, **flags))
    first, second = (weights(tmp_path / name / "best") for name in ("plain", "checkpointed"))
    for key in first:
        torch.testing.assert_close(first[key], second[key], atol=1e-6, rtol=0, msg=key)
