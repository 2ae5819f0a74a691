"""Rate control: how many calls to one model may be out at once, found by trying.

`Window` is the arithmetic with a clock passed in; `Gate` lets coroutines through it in order.
The window grows exponentially until the first 429, then by about one a round trip, and shrinks to
what the server was holding when it refused, by half at most at a time. That is TCP's slow start and
congestion avoidance (RFC 5681), with a 429 for a lost packet: like a router, a provider tells
nobody its limit, and it changes with the load of others.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

START = 4
MOST = 256
LONGEST_PAUSE_S = 60.0
"""Providers count their limits by the minute: after one, whatever refused has begun anew."""
RAMP_S = 5.0
"""Until the first refusal the window grows by as much as itself in this time, answers or not."""


class Ticket(NamedTuple):
    """One call let through."""

    number: int
    tokens: float
    """Tokens it was expected to use."""


class Window:
    """Limits for the calls to one model; every method takes the time in seconds.

    Args:
        most: never more calls out at once.
        requests_per_minute: hard limit; calls are spaced evenly, so no minute exceeds it.
        tokens_per_minute: the same for tokens, by estimate and corrected by what was used.
        pause_s: first cool-down, doubled each time everything is refused.

    >>> window = Window()
    >>> tickets = [window.send(0.0) for _ in range(4)]
    >>> window.wait_s(0.0)  # full: wait for an answer, or grow a little later
    1.25
    >>> for ticket in tickets: window.answered(ticket, 2.0)
    >>> window.limit
    8.0
    """

    def __init__(
        self,
        *,
        start: int = START,
        most: int = MOST,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        pause_s: float = 0.5,
    ) -> None:
        self._pause_s = pause_s
        self.most = most
        self.limit = float(min(start, most))
        """Calls that may be out at once, found so far."""
        self.in_flight = 0
        self._per_request = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60.0 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_at = -math.inf
        self._resume_at = -math.inf
        self._threshold = math.inf
        self._before = self.limit
        self._floor = 1.0
        self._sent = 0
        self._full = 0
        self._grow_at = -math.inf
        self._rounds = 0.0
        # Calls sent since the last decrease tell how the window since then does: `fresh` of
        # them are out, and `proven` says that one was answered.
        self._epoch = 0
        self._fresh = 0
        self._proven = True
        self._streak = 0

    @property
    def counts_tokens(self) -> bool:
        """Whether there is a limit of tokens."""
        return self._per_token > 0

    def wait_s(self, now: float) -> float:
        """Seconds until a call may go out; 0 now, infinite until an answer comes back."""
        if self.in_flight >= int(self.limit):
            if self.limit >= min(self._threshold, self.most):
                return math.inf
            if now < self._grow_at:
                return self._grow_at - now
            self.limit += 1.0
        return max(0.0, self._next_at - now, self._resume_at - now)

    def send(self, now: float, tokens: float = 0.0) -> Ticket:
        """Count a call that goes out now."""
        self.in_flight += 1
        self._fresh += 1
        self._sent += 1
        if self.in_flight >= int(self.limit):
            self._full = self._sent
            self._grow_at = now + RAMP_S / self.limit
        # Spaced, not counted by the minute: a provider's minute begins when it likes, and two
        # bursts around its end would both fall into one.
        space = max(self._per_request, tokens * self._per_token)
        if space:
            self._next_at = max(now, self._next_at) + space
        return Ticket(self._sent, tokens)

    def answered(self, ticket: Ticket, now: float, tokens: float | None = None) -> None:
        """A call was answered: grow, if the window was in full use."""
        if tokens is not None and self._per_token:
            self._next_at += (tokens - ticket.tokens) * self._per_token
        if not self._over(ticket):
            return  # sent under the old window: no proof that the new one is right
        self._proven = True
        if ticket.number <= self._full:
            self._rounds += 1.0 / self.limit
            # One more a round trip; faster when nothing was refused for several of them.
            pace = max(1.0, min(self.limit / 4, 2.0 ** (self._rounds - 2)))
            step = 1.0 if self.limit < self._threshold else pace / (self.limit + 2.0)
            self.limit = min(float(self.most), self.limit + step)

    def failed(self, ticket: Ticket) -> None:
        """A call ended without saying anything about the rate."""
        self._over(ticket)

    def refused(self, ticket: Ticket, now: float, retry_after_s: float | None = None) -> None:
        """A call met the rate limit: shrink, and cool down when it is not a single slip."""
        used = min(self.limit, float(self.in_flight))
        # One shrinking a round trip, as TCP has it: the other calls of a burst that was too large
        # are refused too, and tell nothing about the window that it has become since.
        if self._over(ticket) and (self._proven or not self._fresh):
            self._streak = 1 if self._proven else self._streak + 1
            if self._proven:
                self._before = used
            self._epoch, self._fresh, self._proven = self._sent, 0, False
            self._floor = max(1.0, used / 2)
            self._rounds = 0.0
        self.limit = max(self._floor, min(self.limit, float(self.in_flight)))
        # After repeated refusals the way back to half of where it began is quick.
        self._threshold = self.limit if self._streak == 1 else max(self.limit, self._before / 2)
        if self._streak > 1 or self.limit <= self._floor:
            pause = min(LONGEST_PAUSE_S, self._pause_s * 2 ** (self._streak - 1))
            self._resume_at = max(self._resume_at, now + max(pause, retry_after_s or 0.0))

    def _over(self, ticket: Ticket) -> bool:
        """Count a call as ended; True when it was sent since the last decrease."""
        self.in_flight -= 1
        fresh = ticket.number > self._epoch
        self._fresh -= fresh
        return fresh


class HaltedError(Exception):
    """Nobody is let through any more."""


class Gate:
    """Lets coroutines through a `Window`, first come, first served."""

    def __init__(self, window: Window, clock: Callable[[], float] | None = None) -> None:
        self.window = window
        self._clock = clock
        self._waiting: deque[tuple[asyncio.Future[Ticket], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._halted = False

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()

    async def enter(self, tokens: float = 0.0) -> Ticket:
        """Wait for a turn. Every ticket must be given back by one of the methods below.

        Raises:
            HaltedError: the gate was closed, before or while waiting.
        """
        if self._halted:
            raise HaltedError
        turn: asyncio.Future[Ticket] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, tokens))
        self._pump()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # let through and cancelled at one moment
                self.failed(turn.result())
            raise

    def halt(self) -> None:
        """Close the gate and send away everybody who waits, however long the wait would be."""
        self._halted = True
        if self._timer is not None:
            self._timer.cancel()
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(HaltedError())

    def answered(self, ticket: Ticket, tokens: float | None = None) -> None:
        """The call was answered, with this many tokens used."""
        self.window.answered(ticket, self._now(), tokens)
        self._pump()

    def failed(self, ticket: Ticket) -> None:
        """The call ended without saying anything about the rate."""
        self.window.failed(ticket)
        self._pump()

    def refused(self, ticket: Ticket, retry_after_s: float | None = None) -> None:
        """The call met the rate limit."""
        self.window.refused(ticket, self._now(), retry_after_s)
        self._pump()

    def _pump(self) -> None:
        while self._waiting:
            turn, tokens = self._waiting[0]
            if turn.cancelled():
                self._waiting.popleft()
                continue
            now = self._now()
            wait = self.window.wait_s(now)
            if wait == 0.0:
                self._waiting.popleft()
                turn.set_result(self.window.send(now, tokens))
                continue
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if math.isfinite(wait):
                # A little later than asked: timers may fire a clock tick early, to wait again.
                self._timer = asyncio.get_running_loop().call_later(wait + 1e-4, self._pump)
            return
