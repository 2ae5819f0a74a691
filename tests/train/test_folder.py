"""The output folder of a run: nothing in it is lost without a word, and a stopped run goes on."""

from __future__ import annotations

import json
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from safetensors.torch import load_file, save_file
from tiny_models import save_encoder

from reward_model.model.folder import load_bundle
from reward_model.records import UserError, locked
from reward_model.rubrics import load_rubric
from reward_model.train.checkpoints import CONFIG, last_checkpoint
from reward_model.train.config import TrainConfig, resolve
from reward_model.train.run import train

RUBRIC = load_rubric("financial_report")
QUICK: dict[str, Any] = {"base_model": "tiny", "max_length": 64, "epochs": 3, "batch_size": 8}


def config(scored: Path, out: Path, **flags: Any) -> TrainConfig:
    return resolve(scored, out, None, {**QUICK, **flags})


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return toy.write(tmp_path_factory.mktemp("toy") / "scored.jsonl", toy.pairs(RUBRIC, 24))


@pytest.fixture(scope="module")
def whole(scored: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that came to its end."""
    out = tmp_path_factory.mktemp("whole") / "out"
    train(config(scored, out))
    return out


@pytest.fixture
def out(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "out")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def steps(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").iterdir(), key=lambda p: int(p.name.split("-")[1]))


def killed(out: Path) -> Path:
    """As a kill just before the end would have left it; the newest checkpoint."""
    (out / "metrics.json").unlink()
    shutil.rmtree(out / "best")
    return steps(out)[-1]


def same_model(one: Path, other: Path) -> None:
    a, b = (load_file(folder / "best" / "model.safetensors") for folder in (one, other))
    for name in a:
        torch.testing.assert_close(a[name], b[name], atol=1e-6, rtol=0, msg=name)


def test_a_run_with_other_settings_is_kept_until_it_may_go(
    out: Path, scored: Path, tmp_path: Path
) -> None:
    before = contents(out)
    for unfinished in (False, True):
        if unfinished:
            (out / "metrics.json").unlink()
            del before["metrics.json"]
        with pytest.raises(UserError, match=r"learning_rate \(0\.005, now 0\.002\).*--overwr"):
            train(config(scored, out, learning_rate=0.002))
        fewer = toy.write(tmp_path / "fewer.jsonl", toy.pairs(RUBRIC, 20))
        with pytest.raises(UserError, match="a run with other data"):
            train(config(fewer, out))
        assert contents(out) == before
    train(config(scored, out, learning_rate=0.002), overwrite=True)
    assert contents(out)["best/model.safetensors"] != before["best/model.safetensors"]
    assert json.loads((out / "train_config.json").read_text())["learning_rate"] == 0.002
    with pytest.raises(UserError, match="both --resume and --overwrite"):
        train(config(scored, out), resume=True, overwrite=True)


def test_a_finished_run_is_left_as_it_is(
    out: Path, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = contents(out)
    train(config(scored, out))
    train(config(scored, out, logging_steps=1, batch_tokens=512))
    assert contents(out) == before
    assert capsys.readouterr().err.count("nothing is left to do") == 2


def test_what_changes_no_result_is_gone_on_with(
    out: Path, whole: Path, scored: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As one does after running out of memory."""
    shutil.rmtree(killed(out))
    flags = {"batch_tokens": 100, "logging_steps": 1, "precision": "fp32", "patience": 9}
    train(config(scored, out, **flags))
    said = " ".join(capsys.readouterr().err.split())
    assert "going on with other batch_tokens, logging_steps, patience, precision" in said
    assert f"going on from {steps(out)[0].name}" in said
    a, b = (load_file(folder / "best" / "model.safetensors") for folder in (out, whole))
    for name in a:  # pieces of other sizes draw the dropout of the heads anew
        assert (a[name] - b[name]).abs().max() < 0.2, name
    assert json.loads((out / "train_config.json").read_text())["batch_tokens"] == 100


def cut(file: Path) -> None:
    data = file.read_bytes()
    file.write_bytes(data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    "tear",
    [
        lambda path: cut(path / "model.safetensors"),
        lambda path: cut(path / "optimizer.pt"),
        lambda path: (path / "scheduler.pt").write_bytes(b""),
        lambda path: (path / "model.safetensors").unlink(),
        lambda path: (path / "trainer_state.json").write_text('{"best'),
    ],
    ids=["weights", "optimizer", "scheduler", "no weights", "state"],
)
def test_a_torn_checkpoint_falls_back_to_the_last_whole_one(
    out: Path, whole: Path, scored: Path, tear: Callable[[Path], object]
) -> None:
    last = killed(out)
    for path in steps(out)[:-1]:  # one that both can go on from, whichever was the best
        state = json.loads((path / "trainer_state.json").read_text())
        assert state["best_global_step"] <= state["global_step"]
    tear(last)
    assert last_checkpoint(out) == steps(out)[0]
    train(config(scored, out))
    same_model(out, whole)


def test_links_to_a_larger_disk_stay_links(
    out: Path, whole: Path, scored: Path, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    killed(out)
    shutil.rmtree(steps(out)[-1])
    for name in ("checkpoints", "best"):
        (out / name).rename(disk / name) if (out / name).exists() else (disk / name).mkdir()
        (out / name).symlink_to(disk / name)
    (disk / "checkpoints" / "notes.txt").write_text("mine")
    train(config(scored, out))
    same_model(out, whole)
    train(config(scored, out), overwrite=True)
    assert (out / "checkpoints").is_symlink()
    assert (out / "best").is_symlink()
    assert (disk / "best" / "model.safetensors").exists()
    assert (disk / "checkpoints" / "notes.txt").exists()
    assert {path.name for path in disk.iterdir()} == {"best", "checkpoints"}
    same_model(out, whole)


def test_what_another_program_left_is_not_taken(scored: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "best").mkdir(parents=True)
    (out / "best" / "weights").write_text("precious")
    (out / "checkpoints" / "checkpoint-7").mkdir(parents=True)
    with pytest.raises(UserError, match=r"checkpoints, best, and no train_config\.json"):
        train(config(scored, out))
    assert (out / "checkpoints" / "checkpoint-7").exists()
    assert (out / "best" / "weights").read_text() == "precious"


def test_two_runs_do_not_share_a_folder(out: Path, whole: Path, scored: Path) -> None:
    killed(out)
    before = contents(out)
    with locked(out / CONFIG):
        with pytest.raises(UserError, match="another run is training in"):
            train(config(scored, out))
        assert before.items() <= contents(out).items()
    train(config(scored, out))
    assert contents(out).keys() == {*before, *contents(whole)}


def test_what_is_published_can_be_read_by_others(whole: Path) -> None:
    for path in (whole / "best", *(whole / "best").rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o044 == 0o044, path


def test_a_base_that_was_replaced_is_another_run(scored: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    bundle = load_bundle(save_encoder(tmp_path / "reward"))
    bundle.model.backbone.save_pretrained(base)
    bundle.tokenizer.save_pretrained(base)
    flags = {"base_model": str(base), "epochs": 1, "max_steps": 2}
    train(config(scored, tmp_path / "out", **flags))
    (tmp_path / "out" / "metrics.json").unlink()
    state = load_file(base / "model.safetensors")
    state["embeddings.word_embeddings.weight"][5] += 1
    save_file(state, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="other weights in the base model, which was replaced"):
        train(config(scored, tmp_path / "out", **flags))
