"""Run a command line as a user would: in this process when it is quick, in its own when not."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple


class Outcome(NamedTuple):
    code: int
    stdout: str
    stderr: str


def run(command: str, *args: object) -> Outcome:
    """`run("judge", "validate", path)` in this process; the exit code and what was printed."""
    main = importlib.import_module(f"{command.replace('-', '_')}.cli").main
    argv = sys.argv
    handlers = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)}
    width = os.environ.get("COLUMNS")
    sys.argv = [command, *map(str, args)]
    os.environ["COLUMNS"] = "200"
    out, err = io.StringIO(), io.StringIO()
    code: object = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as leave:
        code = leave.code
    finally:
        sys.argv = argv
        for one, handler in handlers.items():  # a command owns its process, and leaves it deaf
            signal.signal(one, handler)
        os.environ.pop("COLUMNS") if width is None else os.environ.update(COLUMNS=width)
    return Outcome(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue())


def spawn(command: str, *args: object, cwd: Path | None = None) -> subprocess.Popen[str]:
    """The same in its own process, to be killed or waited for."""
    return subprocess.Popen(
        [sys.executable, "-m", command.replace("-", "_"), *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "200"},
    )
