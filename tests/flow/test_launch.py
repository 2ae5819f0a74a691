"""The files in docs/accelerate start what they say, and what comes out loads in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import toy
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from conftest import ROOT
from safetensors.torch import load_file
from tiny_models import save_encoder

from reward_model.model.folder import load_bundle
from reward_model.rubrics import load_rubric
from reward_model.score.scorer import RewardScorer
from reward_model.train.config import resolve
from reward_model.train.run import train

FILES = ROOT / "docs" / "accelerate"
KINDS = {
    "cpu": "MULTI_GPU",  # see the comment in the file
    "ddp": "MULTI_GPU",
    "fsdp2": "FSDP",
    "zero2": "DEEPSPEED",
    "zero3": "DEEPSPEED",
}
ON_CPU = pytest.mark.skipif(torch.accelerator.is_available(), reason="for machines without GPU")


def test_every_file_has_a_kind() -> None:
    assert {path.stem for path in FILES.glob("*.yaml")} == KINDS.keys()


@pytest.mark.parametrize("name", KINDS)
def test_accelerate_reads_the_file(name: str) -> None:
    path = str(FILES / f"{name}.yaml")
    read = load_config_from_file(path)
    assert read.distributed_type == KINDS[name]
    words = ["--config_file", path, "-m", "reward_model", "train", "scored.jsonl"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    assert args.num_processes == 2
    started = {"DEEPSPEED": args.use_deepspeed, "FSDP": args.use_fsdp, "MULTI_GPU": args.multi_gpu}
    assert [kind for kind, on in started.items() if on] == [KINDS[name]]
    if name == "fsdp2":
        assert (args.fsdp_version, args.fsdp_state_dict_type) == (2, "FULL_STATE_DICT")
    if name.startswith("zero"):
        assert args.zero_stage == int(name[-1])


def launch(file: str, *words: object) -> str:
    """Start a program with a file of docs/accelerate; what it printed."""
    command = [*(sys.executable, "-m", "accelerate.commands.launch"), "--config_file"]
    done = subprocess.run(
        [*command, str(FILES / file), *map(str, words)],
        capture_output=True,
        text=True,
        env={k: v for k, v in os.environ.items() if k != "ACCELERATE_USE_CPU"}
        | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@ON_CPU
def test_processes_on_a_cpu_find_each_other(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "from reward_model.train.processes import processes\n"
        "me = processes()\n"
        "print(f'{me.process_index} of {me.num_processes}\\n', end='')\n"
    )
    said = launch("cpu.yaml", program)
    assert {"0 of 2", "1 of 2"} <= set(said.splitlines())


@ON_CPU
@pytest.mark.slow
def test_a_sharded_run_ends_as_one_process_would(tmp_path: Path) -> None:
    bundle = load_bundle(save_encoder(tmp_path / "start"))
    bundle.model.backbone.save_pretrained(tmp_path / "base")
    bundle.tokenizer.save_pretrained(tmp_path / "base")
    scored = toy.write(tmp_path / "scored.jsonl", toy.pairs(load_rubric("financial_report"), 24))
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'base_model = "{tmp_path / "base"}"\n'
        "max_length = 96\nmax_prompt_length = 0\nepochs = 2\nlearning_rate = 1e-3\n"
        "head_dropout = 0.0\nlora_dropout = 0.0\nlora_rank = 4\nprobe = false\n",
        "utf-8",
    )
    whole, sharded = tmp_path / "whole", tmp_path / "sharded"
    train(resolve(scored, whole, settings, {}))
    program = ROOT / "tests" / "helpers" / "fsdp_on_cpu.py"
    flags = ["--output-dir", sharded, "--config", settings]
    said = launch("fsdp2.yaml", program, "train", scored, *flags)
    assert said.count("validation loss") == 2  # once an epoch: not each process for itself
    a, b = (load_file(out / "best" / "model.safetensors") for out in (whole, sharded))
    assert a.keys() == b.keys()
    for name, weight in a.items():
        torch.testing.assert_close(b[name], weight, atol=1e-4, rtol=0)
    rewards = [
        RewardScorer.from_pretrained(out / "best", device="cpu").score("", "because").reward
        for out in (whole, sharded)
    ]
    assert rewards[0] == pytest.approx(rewards[1], abs=1e-5)
