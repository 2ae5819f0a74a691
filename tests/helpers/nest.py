"""Forks of one process that has its modules loaded: fifty kills need not load them fifty times."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

NEST = """
import json, os, sys
names = {}
exec(sys.argv[1], names)
for line in sys.stdin:
    child = os.fork()
    if not child:
        sys.argv = json.loads(line)
        print(os.getpid(), flush=True)
        sys.exit(names["main"]())
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print("ended", code, flush=True)
"""


class Nest:
    """One fork at a time: started, listened to, killed or waited for."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = 0

    def start(self, *argv: object) -> None:
        """Fork, and call `main()` there with these words as `sys.argv`."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(word) for word in argv]) + "\n")
        self.process.stdin.flush()
        self.pid = int(self.line())

    def line(self) -> str:
        """The next line that the fork prints."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def is_running(self) -> bool:
        """It has not ended yet."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:  # the nest has waited for it
            return False
        return True

    def kill(self) -> None:
        """Now, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.end()

    def end(self) -> tuple[int, list[str]]:
        """Wait for it: its exit code and the lines it printed since."""
        said = [self.line()]
        while not said[-1].startswith("ended "):
            assert said[-1] or self.process.poll() is None, "the nest itself has ended"
            said.append(self.line())
        return int(said.pop().split()[1]), said


@contextlib.contextmanager
def nest(code: str) -> Iterator[Nest]:
    """A process that has run `code`, which imports what is slow and defines or imports `main`."""
    process = subprocess.Popen(
        [sys.executable, "-c", NEST, code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    with process:
        yield Nest(process)
