"""Requests of many clients joined into passes of one worker thread, which owns the scorer.

`batcher.submit(job)` from the event loop; `await job.done` gives one score a text. A text alone is
scored at once; while a pass runs, what arrives makes up the next one.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reward_model.records import UserError

if TYPE_CHECKING:
    from reward_model.records.texts import Words
    from reward_model.score.scorer import Score
    from reward_model.score.serve.scorers import Scorer

logger = logging.getLogger(__name__)

BYTES_A_TOKEN = 4
"""Rough, for English and Chinese alike: only tells which texts are of like length."""
LEAST_TOKENS = 8192
"""Of a full pass: the lanes of a CPU wait for each other at the end of each."""
GIVEN_UP = 10
"""Passes that fail in a row before the server calls itself broken."""
TRY_AGAIN = 30.0
"""Seconds between the requests that a broken server lets through, to see whether it still is."""


class Item(NamedTuple):
    """One text to score."""

    prompt: Words
    response: Words
    bytes: int
    """Of both, in UTF-8."""
    evidence: str | None = None
    """What the checks found, where the model reads it."""
    reason: str | None = None
    """Why it is not scored."""


@dataclass(eq=False)
class Job:
    """The texts of one request, scored with the same weights and risk."""

    items: Sequence[Item]
    weights: Mapping[str, float] | None
    risk: float | None
    done: asyncio.Future[list[Score]]
    """Gives a score for each text, in order, or the error of the first that failed."""
    results: list[Score | Exception | None] = field(init=False)
    left: int = field(init=False)
    """Texts without a result."""

    def __post_init__(self) -> None:
        self.results = [None] * len(self.items)
        self.left = len(self.items)

    @property
    def terms(self) -> tuple[object, ...]:
        """What texts have to share to be scored in one pass."""
        weights = None if self.weights is None else tuple(sorted(self.weights.items()))
        return weights, self.risk


class Ticket(NamedTuple):
    """One text in the queue."""

    job: Job
    at: int
    size: int
    """About how many tokens the model will read."""


class Full(Exception):  # noqa: N818 - no error of ours: the client comes again later
    """No room in the queue."""


class Broken(Exception):  # noqa: N818 - as above
    """The model fails on everything, and it is not yet time to try it again."""


class ScoringError(Exception):
    """The model failed on a text."""


@dataclass(frozen=True)
class Pass:
    """What is told of a finished pass."""

    texts: int
    seconds: float


class Batcher:
    """A bounded queue and the thread that empties it.

    Args:
        load: makes the scorer; called in the worker thread, so that the server answers meanwhile.
        loop: where results are delivered.
        max_items: most texts of a pass.
        max_tokens: about as many tokens of a pass; the scorer's budget if None.
        max_wait: seconds a pass may wait for company while requests come many at once.
        max_queue: most texts waiting.
        on_ready: called in the loop when the scorer is there, or with what went wrong.
        on_pass: called in the loop after each pass.
    """

    def __init__(
        self,
        load: Callable[[], Scorer],
        loop: asyncio.AbstractEventLoop,
        *,
        max_items: int,
        max_tokens: int | None,
        max_wait: float,
        max_queue: int,
        on_ready: Callable[[BaseException | None], None],
        on_pass: Callable[[Pass], None],
    ) -> None:
        self.scorer: Scorer | None = None
        """None until it is loaded."""
        self._load, self._loop = load, loop
        self._max_items, self._max_tokens, self._max_queue = max_items, max_tokens, max_queue
        self._max_wait = max_wait
        self._on_ready, self._on_pass = on_ready, on_pass
        self._waiting: list[Ticket] = []
        self._change = threading.Condition()
        self._closed = False
        self._last = 1
        self._failures = 0
        self._try_at = 0.0
        self._longest = 512
        self._budget = max_tokens or LEAST_TOKENS
        self._rate = 0.0
        self._thread = threading.Thread(target=self._work, name="scorer", daemon=True)

    def start(self) -> None:
        """Begin to load the model."""
        self._thread.start()

    @property
    def loaded(self) -> Scorer:
        """The scorer, where it is known to be there: no request is let in before."""
        assert self.scorer is not None, "requests are let in once it is there"
        return self.scorer

    @property
    def waiting(self) -> int:
        """Texts in the queue."""
        return len(self._waiting)

    @property
    def broken(self) -> bool:
        """Nothing but failures for a while."""
        return self._failures >= GIVEN_UP

    @property
    def pause(self) -> float:
        """Seconds for which no text is taken because the model is broken."""
        return max(0.0, self._try_at - time.monotonic()) if self.broken else 0.0

    @property
    def seconds_ahead(self) -> float:
        """About how long the queue will take."""
        return len(self._waiting) / self._rate if self._rate else 1.0

    def submit(self, job: Job) -> None:
        """Put the texts of a job into the queue, all of them or none.

        Raises:
            Full: there is no room.
            Broken: the model is, and another request is trying it or has just done so.
        """
        tickets = [
            Ticket(job, i, min(self._longest, 1 + item.bytes // BYTES_A_TOKEN))
            for i, item in enumerate(job.items)
        ]
        with self._change:
            if self._closed or len(self._waiting) + len(tickets) > self._max_queue:
                raise Full
            if self.pause:
                raise Broken
            if self.broken:
                self._try_at = time.monotonic() + TRY_AGAIN
            self._waiting += tickets
            self._change.notify()

    def drop(self, job: Job) -> None:
        """Forget a job whose client does not wait any more."""
        if not job.left:
            return
        with self._change:
            self._waiting = [ticket for ticket in self._waiting if ticket.job is not job]

    def close(self) -> None:
        """Stop after the pass that is running; whatever waits is told that there is no room.

        To be called in the loop.
        """
        with self._change:
            self._closed = True
            waiting, self._waiting = self._waiting, []
            self._change.notify()
        for ticket in waiting:
            if not ticket.job.done.done():
                ticket.job.done.set_exception(Full())

    def join(self, seconds: float) -> bool:
        """Wait for the thread to end; whether it did."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _work(self) -> None:
        try:
            scorer = self._load()
            scorer.score("", "warm up")  # the first pass of a model is its slowest
        except BaseException as error:
            self._call(self._on_ready, error)
            return
        self._longest = scorer.max_length
        # A few batches at least: the scorer sorts them by length, and one pass costs what it costs.
        self._budget = self._max_tokens or max(LEAST_TOKENS, scorer.batch_tokens)
        self.scorer = scorer
        self._call(self._on_ready, None)
        while tickets := self._take():
            began = time.perf_counter()
            outcomes = self._score(scorer, tickets)
            self._deliver_later(tickets, outcomes, time.perf_counter() - began)

    def _take(self) -> list[Ticket]:
        """The texts of the next pass; none when the work is over."""
        with self._change:
            while True:
                while not self._waiting:
                    if self._closed:
                        return []
                    self._change.wait()
                self._wait_for_company()
                if self._waiting:  # clients may have hung up meanwhile
                    break
            chosen = choose(self._waiting, self._budget, self._max_items)
            taken = set(chosen)
            tickets = [self._waiting[i] for i in chosen]
            self._waiting = [t for i, t in enumerate(self._waiting) if i not in taken]
            self._last = len(tickets)
        return tickets

    def _wait_for_company(self) -> None:
        """Where the last pass had several texts, as many are likely on their way."""
        until = time.perf_counter() + self._max_wait
        while len(self._waiting) < self._last and not self._closed:
            left = until - time.perf_counter()
            if self._last == 1 or left <= 0:
                return
            self._change.wait(left)

    def _score(self, scorer: Scorer, tickets: Sequence[Ticket]) -> list[Score | Exception]:
        job = tickets[0].job
        items = [ticket.job.items[ticket.at] for ticket in tickets]
        try:
            return [
                *scorer.score_batch(
                    [item.prompt for item in items],
                    [item.response for item in items],
                    weights=job.weights,
                    risk=job.risk,
                    evidence=[item.evidence for item in items],
                )
            ]
        except UserError as error:
            failure: Exception = error
        except Exception as error:
            failure = ScoringError(_where(error))
            failure.__cause__ = error
        if len(tickets) > 1:  # one text must not spoil the answer of another
            return [self._score(scorer, [ticket])[0] for ticket in tickets]
        if isinstance(failure, ScoringError):
            logger.error("scoring a text failed: %s", failure)
        return [failure]

    def _deliver_later(
        self, tickets: Sequence[Ticket], outcomes: Sequence[Score | Exception], seconds: float
    ) -> None:
        failed = all(isinstance(outcome, ScoringError) for outcome in outcomes)
        self._failures = self._failures + 1 if failed else 0
        if self._failures == GIVEN_UP:
            self._try_at = time.monotonic() + TRY_AGAIN
        rate = len(tickets) / max(seconds, 1e-6)
        self._rate = rate if not self._rate else 0.8 * self._rate + 0.2 * rate

        def deliver() -> None:
            for ticket, outcome in zip(tickets, outcomes, strict=True):
                _settle(ticket, outcome)
            self._on_pass(Pass(len(tickets), seconds))

        self._call(deliver)

    def _call(self, function: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:  # the loop is closed: nobody waits for anything
            self._closed = True


def choose(waiting: Sequence[Ticket], budget: int, most: int) -> list[int]:
    """Which texts make the next pass: the oldest, and those nearest to it in length.

    Like lengths waste no padding, and the oldest is always among them, so none waits for ever. Of
    a long queue only half is taken: while the model works on one half, the answers to the other
    travel, and clients that ask one by one send their next text.

    Args:
        waiting: the queue, oldest first.
        budget: most tokens of a pass, padding included; one text may be longer.
        most: most texts of a pass.
    """
    oldest = waiting[0]
    terms = oldest.job.terms
    alike = [i for i, ticket in enumerate(waiting) if ticket.job.terms == terms]
    most = min(most, max(8, -(-len(alike) // 2)))
    alike.sort(key=lambda i: (i != 0, abs(waiting[i].size - oldest.size), i))
    chosen: list[int] = []
    longest = 0
    for i in alike[:most]:
        longest = max(longest, waiting[i].size)
        if chosen and longest * (len(chosen) + 1) > budget:
            break
        chosen.append(i)
    return chosen


def _settle(ticket: Ticket, outcome: Score | Exception) -> None:
    job = ticket.job
    job.results[ticket.at] = outcome
    job.left -= 1
    if job.left or job.done.done():
        return
    scores: list[Score] = []
    for result in job.results:
        if isinstance(result, Exception):
            job.done.set_exception(result)
            return
        assert result is not None
        scores.append(result)
    job.done.set_result(scores)


def _where(error: Exception) -> str:
    """Kind and place of an error, without its message, which may quote a report."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None:
        return type(error).__name__
    return (
        f"{type(error).__name__} in {Path(last.tb_frame.f_code.co_filename).name}:{last.tb_lineno}"
    )
