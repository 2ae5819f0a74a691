"""`python twins.py PORT WORDS...`: one command in one process, into `one/`, and in two that find
each other through gloo, into `two/`. All are forks of this one, which imports the libraries once.
"""

from __future__ import annotations

import os
import sys

import trl.trainer.dpo_trainer  # noqa: F401 - loaded before the forks

from reward_model.cli.commands import main
from reward_model.policy.training import builder, train  # noqa: F401


def start(port: str, words: list[str], world: int, rank: int) -> int:
    """Fork the command as one of `world` processes; its process id."""
    child = os.fork()
    if child:
        return child
    os.environ |= {"ACCELERATE_USE_CPU": "true"}
    if world > 1:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in place.items()}
        os.environ |= {"MASTER_ADDR": "127.0.0.1"}
    sys.argv = ["reward-model", *words, "--output-dir", "one" if world == 1 else "two"]
    try:
        main()
    except SystemExit as leave:
        os._exit(int(leave.code or 0))
    finally:
        os._exit(1)
    return 0


if __name__ == "__main__":
    port, *words = sys.argv[1:]
    children = [start(port, words, world, rank) for world in (1, 2) for rank in range(world)]
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
