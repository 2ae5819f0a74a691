"""A command in a process of its own that need not load torch: a fork of one that has done so.

What takes a command seconds of processor time to begin with is paid once a worker. Tests of how a
process begins and ends start a new one instead (`commands.spawn`).
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["reward_model.train.run", "reward_model.score.files.run"])


class Warm:
    """As much of a `subprocess.Popen` in text mode as tests ask for."""

    def __init__(self, target: Callable[..., None], *args: object) -> None:
        pipes = [FORKS.Pipe(duplex=False) for _ in range(2)]
        self.process = FORKS.Process(target=target, args=([w for _, w in pipes], *args))
        self.process.start()
        for _, writer in pipes:
            writer.close()
        self.stdout, self.stderr = (os.fdopen(os.dup(reader.fileno())) for reader, _ in pipes)
        for reader, _ in pipes:
            reader.close()
        self.pid = self.process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; below zero where a signal ended it."""
        return self.process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Until it has ended."""
        self.process.join(timeout)
        assert self.returncode is not None, f"it has not ended in {timeout} s"
        return self.returncode

    def send_signal(self, number: signal.Signals) -> None:
        """Unless it has ended."""
        if self.returncode is None:
            assert self.pid is not None
            with contextlib.suppress(ProcessLookupError):  # it has, and nobody has told yet
                os.kill(self.pid, number)

    def kill(self) -> None:
        """At once."""
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Both streams to their ends, when it has ended."""
        with ThreadPoolExecutor(2) as pool:
            said = [pool.submit(stream.read) for stream in (self.stdout, self.stderr)]
            out, err = (one.result(timeout) for one in said)
        self.wait(timeout)
        self.stdout.close()
        self.stderr.close()
        return out, err


def start(
    command: str,
    *args: object,
    env: Mapping[str, str] | None = None,
    largest_file: int | None = None,
) -> Warm:
    """`start("reward-model", "train", ...)`.

    Args:
        command: `reward-model`; `datagen` and `judge` load no torch, and `nest` forks them.
        args: its words.
        env: variables beside those of this process.
        largest_file: bytes; what is written beyond fails as on a full disk.
    """
    words = [command, *map(str, args)]
    return Warm(_begin, words, {**os.environ, "COLUMNS": "200", **(env or {})}, largest_file)


def _begin(
    streams: list[Connection], words: list[str], env: dict[str, str], largest_file: int | None
) -> None:
    for number, stream in enumerate(streams, 1):
        os.dup2(stream.fileno(), number)
        stream.close()
    os.environ.clear()
    os.environ.update(env)
    sys.argv = words
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    from reward_model.cli.commands import main

    main()
