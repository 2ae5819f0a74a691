"""Token ids on the disk: the same as made in hand, found again, made anew when broken or stale."""

from __future__ import annotations

import copy
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scored_sets
import toy
from tiny_models import byte_tokenizer

from reward_model.data.dataset import MultiDimRewardDataset, Samples
from reward_model.data.reading import read_samples
from reward_model.data.tokens.inputs import InputBuilder
from reward_model.data.tokens.store import encode
from reward_model.records import UserError
from reward_model.records.cache import cache_root, made
from reward_model.rubrics import load_rubric

RUBRIC = load_rubric("financial_report")


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return byte_tokenizer(
        ["[PAD]", "[CLS]", "[SEP]"],
        "[CLS] $A [SEP] $B:1 [SEP]:1",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    path = tmp_path_factory.mktemp("scored") / "a.jsonl"
    scored_sets.write(path, scored_sets.scored_set(groups=6))
    return read_samples(path, RUBRIC)[0]


def by_hand(samples: Samples, builder: InputBuilder) -> list[Any]:
    return [builder.one(sample.prompt, sample.response) for sample in samples]


@pytest.mark.parametrize("typed", [True, False])
def test_ids_are_those_of_the_builder(tokenizer: Any, samples: Samples, typed: bool) -> None:
    if not typed:
        tokenizer = byte_tokenizer(["<eos>"], pad_token="<eos>", eos_token="<eos>")
    builder = InputBuilder(tokenizer, 200)
    tokens = encode(samples, builder)
    expected = by_hand(samples, builder)
    assert list(tokens) == expected
    assert (expected[0].token_type_ids is not None) == typed
    assert tokens.lengths.tolist() == [len(one.input_ids) for one in expected]
    assert list(tokens.take([5, 1, 1])) == [expected[5], expected[1], expected[1]]
    dataset = MultiDimRewardDataset(samples, RUBRIC, builder)
    part = dataset.take([7, 3])
    assert part[0]["input_ids"] == expected[7].input_ids
    assert part.samples[1].pair == samples[3].pair
    assert dataset.truncation()["response"] == np.mean([one.response_cut for one in expected])
    assert dataset.truncation()["prompt"] == np.mean([one.prompt_cut for one in expected])
    assert "prompt" not in part[0]
    assert encode(list(samples), builder)[4] == expected[4]


def test_they_are_made_once(tokenizer: Any, samples: Samples, tmp_path: Path) -> None:
    builder = InputBuilder(tokenizer, 200)
    tokens = encode(samples, builder, tmp_path)
    (folder,) = tmp_path.iterdir()
    stamp = (folder / "tokens.npy").stat().st_mtime_ns
    again = encode(samples, InputBuilder(copy.deepcopy(tokenizer), 200), tmp_path)
    assert (folder / "tokens.npy").stat().st_mtime_ns == stamp
    assert list(again) == list(tokens)
    # Every setting, another tokenizer, other texts: another folder.
    encode(samples, InputBuilder(tokenizer, 201), tmp_path)
    encode(samples, InputBuilder(tokenizer, 200, max_prompt_length=9), tmp_path)
    encode(samples, InputBuilder(tokenizer, 200, evidence="checks"), tmp_path)
    other = copy.deepcopy(tokenizer)
    other.add_tokens(["营业收入"])
    encode(samples, InputBuilder(other, 200), tmp_path)
    encode(samples[:10], builder, tmp_path)
    assert len(list(tmp_path.iterdir())) == 6


@pytest.mark.parametrize("name", ["tokens.npy", "offsets.npy", "texts.json", "cuts.npy"])
@pytest.mark.parametrize("half", [True, False])
def test_a_broken_folder_is_made_again(
    tokenizer: Any, samples: Samples, tmp_path: Path, name: str, half: bool
) -> None:
    builder = InputBuilder(tokenizer, 200)
    expected = list(encode(samples, builder, tmp_path))
    (folder,) = tmp_path.iterdir()
    file = folder / name
    if half:
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        file.unlink()
    assert list(encode(samples, builder, tmp_path)) == expected
    assert file.exists()


def test_processes_make_the_same_files(tokenizer: Any, samples: Samples, tmp_path: Path) -> None:
    builder = InputBuilder(tokenizer, 200)
    alone = encode(samples, builder, tmp_path / "a", workers=1)
    shared = encode(samples, builder, tmp_path / "b", workers=3)
    for file in alone.folder.path.iterdir():
        assert file.read_bytes() == (shared.folder.path / file.name).read_bytes(), file.name
    assert len(list(shared.folder.path.iterdir())) == 6


def test_what_is_wrong_in_a_process_is_told_in_its_words(tokenizer: Any, tmp_path: Path) -> None:
    file = toy.write(tmp_path / "scored.jsonl", toy.pairs(RUBRIC, 40))
    samples, _ = read_samples(file, RUBRIC)
    file.write_text("{}\n" * 40, "utf-8")
    with pytest.raises(UserError, match="changed after it was read"):
        encode(samples, InputBuilder(tokenizer, 200), tmp_path / "cache", workers=2)
    assert not any((tmp_path / "cache").glob("*/texts.json"))


def test_without_a_cache_nothing_is_left(tokenizer: Any, samples: Samples) -> None:
    assert cache_root("none") is None
    tokens = encode(samples, InputBuilder(tokenizer, 200), None)
    folder = tokens.folder.path
    assert folder.is_dir()
    del tokens
    assert not folder.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_and_nothing_half_is_kept(tmp_path: Path) -> None:
    def full(folder: Path) -> None:
        (folder / "some").write_text("part")
        with Path("/dev/full").open("w") as file:
            file.write("x")

    with pytest.raises(UserError, match="no space left"):
        made(tmp_path, "a", full, lambda folder: True)
    assert list(tmp_path.iterdir()) == []


def test_a_place_nobody_can_write_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    folder = made(tmp_path / "file" / "cache", "a", lambda f: None, lambda f: True)
    assert not folder.kept
    assert folder.path.is_dir()


KILLED = """
import sys, time
from pathlib import Path
from reward_model.records.cache import made

def slow(folder):
    (folder / "tokens.npy").write_text("half")
    Path(sys.argv[1], "begun").write_text("")
    time.sleep(60)

made(Path(sys.argv[1]) / "cache", "a", slow, lambda folder: True)
"""


def test_a_killed_run_leaves_nothing_under_the_name(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cache" / "a").exists()
    folder = made(
        tmp_path / "cache", "a", lambda f: (f / "x").touch() or None, lambda f: (f / "x").exists()
    )
    assert (folder.path / "x").exists()
    shutil.rmtree(tmp_path / "cache")


def test_samples_in_hand_are_never_kept(tokenizer: Any, samples: Samples, tmp_path: Path) -> None:
    listed = [dataclasses.replace(sample) for sample in samples[:4]]
    assert not encode(listed, InputBuilder(tokenizer, 200), tmp_path).folder.kept
    assert list(tmp_path.iterdir()) == []
