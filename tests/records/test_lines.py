"""Long work says so where there is no terminal: at the start, every so often, at the end."""

from __future__ import annotations

import contextlib
import io
import re
import time

import pytest

from reward_model.records.terminal import progress


def lines_of(
    work: str, *, every: float, transient: bool = False, total: int | None = 4
) -> list[str]:
    """What a log has of some work: `.` a step, `_` a pause of a tenth of a second."""
    log = io.StringIO()
    with contextlib.redirect_stderr(log):
        with progress(transient=transient, every=every) as bar:
            task = bar.add_task("score", total=total, completed=work.count("+"), note="")
            for step in work:
                if step == "_":
                    time.sleep(0.1)
                elif step == ".":
                    bar.update(task, advance=1, note="loss 0.512")
        time.sleep(0.05)
    assert "\x1b" not in log.getvalue()  # no colour, no cursor
    return log.getvalue().splitlines()


def test_a_start_a_line_now_and_then_and_an_end() -> None:
    said = lines_of("._____.___..", every=0.2)
    assert said[0] == "score: 0 of 4"
    assert len(said) >= 4
    assert re.fullmatch(
        r"score: 1 of 4 \(25%\), [\d.]+(/s| s each), \d+ s left, loss 0.512", said[1]
    )
    assert re.fullmatch(r"score: 4 of 4 \(100%\), .*, done in \d s, loss 0.512", said[-1])


def test_a_step_of_many_minutes_is_no_silence() -> None:
    said = lines_of("______", every=0.15)
    assert len(said) >= 3
    assert set(said) == {"score: 0 of 4"}


def test_what_was_done_before_is_not_in_the_rate() -> None:
    said = lines_of("+++_._", every=9)
    assert said[0] == "score: 3 of 4 (75%)"
    assert float(re.findall(r"([\d.]+)(?:/s| s each)", said[-1])[0]) < 8


@pytest.mark.parametrize("total", [4, None])
def test_quick_work_that_leaves_nothing_says_nothing(total: int | None) -> None:
    assert lines_of("....", every=9, transient=True, total=total) == []
    assert len(lines_of("....", every=9, total=total)) == 2


def test_an_error_ends_it(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(ValueError), progress(every=0.1) as bar:
        bar.add_task("score", total=2, note="")
        raise ValueError
    before = capsys.readouterr().err
    time.sleep(0.25)
    assert before.splitlines() == ["score: 0 of 2"]
    assert capsys.readouterr().err == ""
