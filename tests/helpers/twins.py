"""`python twins.py WORDS...`: one command in one process, into `one/`, in two that find each other
through gloo, into `two/`, and in two that share the weights by FSDP2, into `spread/`. All are forks
of this one, which imports the libraries once.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import trl.trainer.dpo_trainer  # noqa: F401 - loaded before the forks
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from fsdp_on_cpu import take_cpus_for_gpus

from reward_model.cli.commands import main
from reward_model.policy.training import builder, train  # noqa: F401

FSDP = Path(__file__).parents[2] / "docs" / "accelerate" / "fsdp2.yaml"
WORLDS = {"one": 1, "two": 2, "spread": 2}


def start(name: str, words: list[str], rank: int, port: int) -> int:
    """Fork the command as one process of a world; its process id."""
    child = os.fork()
    if child:
        return child
    if WORLDS[name] > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in place.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1"}
    if name == "spread":
        said = launch_command_parser().parse_args(["--config_file", str(FSDP), "program.py"])
        told, _, _ = _validate_launch_command(said)
        os.environ |= prepare_multi_gpu_env(told)
        take_cpus_for_gpus()
    else:
        os.environ |= {"ACCELERATE_USE_CPU": "true"}
    sys.argv = ["reward-model", *words, "--output-dir", name]
    try:
        main()
    except SystemExit as leave:
        os._exit(int(leave.code or 0))
    finally:
        os._exit(1)
    return 0


def run(name: str, words: list[str]) -> int:
    """All processes of a world to their ends; the largest exit code."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    children = [start(name, words, rank, port) for rank in range(WORLDS[name])]
    return max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children)


if __name__ == "__main__":
    sys.exit(max(run(name, sys.argv[1:]) for name in WORLDS))
