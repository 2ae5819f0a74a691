"""Long work in a log: what `records.terminal.progress` is where there is no terminal."""

from __future__ import annotations

import threading
import time
from typing import Any

from rich.console import Console
from rich.progress import Progress, Task, TaskID

FIRST = 10.0
"""Seconds to the second line, with the first estimate of how long it will take."""


class Lines(Progress):
    """A progress bar as plain lines: at the start, every so often, and at the end.

    A thread of its own writes them, so that a step of many minutes is no silence.

    Args:
        screen: where they go.
        every: seconds between lines.
        quiet: seconds before the first; work that is done by then says nothing.
    """

    def __init__(self, screen: Console, *, every: float, quiet: float = 0.0) -> None:
        super().__init__(console=screen, disable=True)
        self._every, self._quiet = every, quiet
        self._begun: dict[TaskID, tuple[float, float]] = {}
        """When each began, and what was done of it before."""
        self._told: dict[TaskID, float] = {}
        """What was done of it at its last line."""
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to write."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="progress", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Write how far each came, where anything was written of it before."""
        if self._thread is None or self._over.is_set():
            return
        self._over.set()
        self._thread.join()
        for task in self.tasks:
            if task.id in self._told and self._told[task.id] != task.completed:
                self._say(task)

    def add_task(self, description: str, *args: Any, **fields: Any) -> TaskID:
        """As of rich; the first line of a task is written at once where nothing is to be quiet."""
        number = super().add_task(description, *args, **fields)
        task = self._tasks[number]
        self._begun[number] = (time.monotonic(), task.completed)
        if not self._quiet:
            self._say(task)
        return number

    def _write(self) -> None:
        wait = self._quiet or min(FIRST, self._every)
        while not self._over.wait(wait):
            wait = self._every
            for task in self.tasks:
                if not task.finished or self._told.get(task.id) != task.completed:
                    self._say(task)

    def _say(self, task: Task) -> None:
        self._told[task.id] = task.completed
        began, before = self._begun[task.id]
        self.console.print(
            words(
                task.description,
                task.completed,
                task.total,
                before,
                time.monotonic() - began,
                str(task.fields.get("note", "")),
            ),
            markup=False,
            style=None,
            soft_wrap=True,
        )


def words(
    what: str, done: float, total: float | None, before: float, seconds: float, note: str = ""
) -> str:
    """One line of a log.

    Args:
        what: the work.
        done: how much of it is.
        total: how much there is, where it is known.
        before: how much was done when this run began.
        seconds: since then.
        note: what else to know.

    >>> words("training", 120, 480, 0, 60.0, "loss 0.512")
    'training: 120 of 480 (25%), 2.0/s, 3 min left, loss 0.512'
    >>> words("training", 3, 480, 0, 90.0)
    'training: 3 of 480 (1%), 30.0 s each, 3 h 58 min left'
    >>> words("score", 0, 10_000, 0, 0.0)
    'score: 0 of 10,000'
    >>> words("score", 10_000, 10_000, 4_000, 600.0)
    'score: 10,000 of 10,000 (100%), 10.0/s, done in 10 min'
    """
    parts = [f"{what}: {done:,.0f}" + ("" if total is None else f" of {total:,.0f}")]
    fresh = done - before
    if total and done:
        parts[0] += f" ({done / total:.0%})"
    if fresh > 0 and seconds > 0:
        rate = fresh / seconds
        parts.append(f"{rate:,.1f}/s" if rate >= 1 else f"{1 / rate:,.1f} s each")
        if total is not None:
            left = (total - done) / rate
            parts.append(f"{_time(left)} left" if left > 0 else f"done in {_time(seconds)}")
    elif done == before and seconds >= 1:
        parts.append(f"nothing finished for {_time(seconds)}")
    return ", ".join([*parts, *([note] if note else [])])


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
