"""The terminal: one console on stderr, progress bars, and errors turned into exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from reward_model.records.errors import Stopped, UserError, explain_os_error

if TYPE_CHECKING:
    from types import FrameType

    import typer
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Column, Table


_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
"""What a terminal obeys instead of showing it: escape sequences begin with one of these."""


def plain(text: str) -> str:
    """Text without what a terminal obeys; what follows stays, for all to see.

    >>> plain("Sales rose.\\x1b[2J\\x9b31m")
    'Sales rose.[2J31m'
    """
    return text.translate(_CONTROLS)


def console() -> Console:
    """Where words for people go: stderr, so that stdout stays clean for programs.

    Whatever is shown, in a table, a bar or an error: nothing of a data set reaches the terminal as
    a command to it.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Safe(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                if segment.control is None and (text := plain(segment.text)) != segment.text:
                    yield Segment(text, segment.style)
                else:
                    yield segment

        def on_broken_pipe(self) -> None:
            # `command 2>&1 | head` reads no further; the work goes on, and its files are written.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)

    seen = sys.stderr is not None and sys.stderr.isatty()  # it is None where it was closed
    width = os.environ.get("COLUMNS", "").strip()
    # Some programs say 0 where they do not know it; in a log a line is as long as its figures need.
    if not width.isdigit() or int(width) < (1 if seen else 80):
        os.environ.pop("COLUMNS", None)
    # Of a model named `openai:m:` rich would make a sign of its own.
    return Safe(stderr=True, highlight=False, emoji=False, soft_wrap=not seen)


TONES = {"yes": "green", "with care": "yellow", "no": "red", "not known": "default"}
"""Colours of a verdict."""
EVERY = 30.0
"""Seconds between the lines of long work in a log."""
QUIET = 2.0
"""Seconds for which work that leaves no bar behind says nothing in a log: most is done by then."""


def progress(*, transient: bool = False, every: float = EVERY) -> Progress:
    """A bar with rate, time left and a free text field `note` (cost, failures so far).

    Where there is no terminal (a pipe, a log) it is plain lines: one at the start, then one every
    `every` seconds with count, rate, time left and note, however long a step takes, and the last.

    Use: ``task = bar.add_task("pairs", total=n, note="")``, then
    ``bar.update(task, advance=1, note="2 failed, $0.41")``.

    Args:
        transient: the bar goes when the work is done; in a log, work that is done within two
            seconds says nothing.
        every: seconds between lines.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    screen = console()
    if not (screen.is_terminal or screen.is_jupyter):
        from reward_model.records.lines import Lines

        return Lines(screen, every=every, quiet=QUIET if transient else 0.0)

    class Rate(ProgressColumn):
        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:,.1f}/s")

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=screen,
        transient=transient,
    )


def table(title: str | None, *columns: str | Column) -> Table:
    """A table of figures: the first column names, to the left, all others to the right.

    On a narrow screen names are broken over lines; a figure is never cut.

    Args:
        columns: heads; a `rich.table.Column` says for itself how it stands.
    """
    from rich.box import SIMPLE
    from rich.table import Column, Table

    def column(at: int, head: str | Column) -> Column:
        if isinstance(head, Column):
            return head
        figure = Column(head, justify="right", no_wrap=True)
        return figure if at else Column(head, overflow="fold")

    heads = [column(at, head) for at, head in enumerate(columns)]
    return Table(*heads, title=title, title_justify="left", box=SIMPLE, padding=(0, 1))


_TYPER_INTERRUPTED = 130
"""What typer makes of a KeyboardInterrupt, instead of letting it through."""


def given(context: typer.Context, names: Iterable[str]) -> dict[str, Any]:
    """Those flags of a command that stand on its command line, by the names of their settings.

    The defaults in a command's signature are for its help: a settings file stands below what was
    given and above what was not.
    """
    return {
        name: context.params[name]
        for name in names
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }


def let_interrupts(*, wait: bool) -> None:
    """Whether Ctrl-C waits, here and in the processes started from now on until each calls `run`.

    Does nothing on Windows.
    """
    import signal

    if sys.platform != "win32":
        how = signal.SIG_BLOCK if wait else signal.SIG_UNBLOCK
        signal.pthread_sigmask(how, {signal.SIGINT})


def run(app: typer.Typer) -> None:
    """Run a command line and leave with the exit code that design promises.

    0 done; 1 problems found; 2 wrong use or input; 3 stopped early with the work saved.
    """
    import logging
    import signal

    # A library that is loaded only because it is there says what it lacks; nobody asked for it.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

    # Ctrl-C reaches a whole group, and its parent may ask once more while the last word is said.
    def leaving() -> None:
        for again in (signal.SIGINT, signal.SIGTERM):
            signal.signal(again, signal.SIG_IGN)

    # A polite kill ends like Ctrl-C: files are left whole and the message says how to go on.
    interrupt = _interrupt()
    signal.signal(signal.SIGTERM, interrupt)
    # A shell's `command &` has it ignored, and so it stays.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _interrupted_again
    try:
        let_interrupts(wait=False)
        code = app(standalone_mode=False)
        if code == _TYPER_INTERRUPTED:
            raise KeyboardInterrupt
    except UserError as error:
        _fail(str(error))
        code = 2
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            code = 0
        else:
            _fail(str(explain_os_error(error)))
            code = 2
    except Stopped as stop:
        leaving()
        console().print(f"stopped: {stop}", markup=False)
        code = 3
    except KeyboardInterrupt:
        leaving()
        code = _interrupted()
    except Exception as error:  # click's own: wrong use shows usage and help
        code = _click_code(error)
    sys.exit(code if isinstance(code, int) else 0)


_SAVED = "interrupted; what was finished is saved: run the same command to go on"
_IMPORTING = 20.0
"""Seconds that Ctrl-C waits for modules to be loaded; somebody's own may never come to an end."""


def _interrupt() -> Callable[[int, FrameType | None], None]:
    """What a signal does: KeyboardInterrupt, but not while a module is loaded.

    A library that is interrupted there may take it for something that is not installed, and go on
    or fail with an error of its own. As long as nothing has begun the process ends there and then;
    later the signal comes again until the module is there.
    """
    import contextlib
    import threading
    import time

    since: float | None = None

    def interrupt(signum: int, frame: FrameType | None) -> None:
        nonlocal since
        now = time.monotonic()
        since = since or now
        if _importing(frame) and now - since < _IMPORTING:
            if threading.active_count() == 1:
                with contextlib.suppress(Exception):  # hit in the middle of printing, or closed
                    sys.stdout.flush()
                os.write(2, f"{_SAVED}\n".encode())
                os._exit(3)
            _again(signum)
            return
        since = None
        raise KeyboardInterrupt

    return interrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _interrupted_again(found: Any) -> None:
    """Ctrl-C in the middle of a weak reference's callback is dropped by Python with a traceback; it
    comes once more, a moment later."""
    import signal

    if found.exc_type is KeyboardInterrupt:
        _again(signal.SIGINT)
    else:
        sys.__unraisablehook__(found)


def _again(signum: int) -> None:
    """The same signal, a moment later."""
    import _thread
    import signal
    import threading

    def send() -> None:
        if sys.platform == "win32":
            _thread.interrupt_main(signal.Signals(signum))
        else:  # which ends a wait of the main thread, too
            signal.pthread_kill(threading.main_thread().ident or 0, signum)

    threading.Timer(0.05, send).start()


def _click_code(error: Exception) -> int:
    show = getattr(error, "show", None)
    if callable(show):
        show()
        return int(getattr(error, "exit_code", 2))
    # Python 3.11 wraps what comes up while a class is made, Ctrl-C among it, in a RuntimeError.
    if type(error).__name__ == "Abort" or isinstance(error.__cause__, KeyboardInterrupt):
        return _interrupted()
    raise error


def _interrupted() -> int:
    console().print(_SAVED)
    return 3


def _fail(message: str) -> None:
    console().print(f"[bold red]error:[/] {_escape(message)}", soft_wrap=True)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
