"""The window finds a server's limit, keeps to hard limits and gets out of trouble quickly."""

from __future__ import annotations

import asyncio
import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reward_model.llm.rate import Gate, Window


class Simulated:
    """A server with a clock of its own: `at_once` calls, `per_minute` calls, a latency."""

    def __init__(
        self,
        at_once: int = 10**9,
        per_minute: float = 10**9,
        latency: float = 2.0,
        spread: tuple[float, float] = (1.0, 1.0),
    ):
        self.spread, self.random = spread, random.Random(0)
        self.events: list[tuple[float, int, bool, object]] = []
        self.count = 0
        self.at_once, self.per_minute, self.latency = at_once, per_minute, latency
        self.now = 0.0
        self.busy = 0
        self.tokens = per_minute / 60
        self.filled = 0.0
        self.answered: list[float] = []
        self.refused: list[float] = []

    def take(self) -> bool:
        rate = self.per_minute / 60
        self.tokens = min(rate, self.tokens + (self.now - self.filled) * rate)
        self.filled = self.now
        if self.busy >= self.at_once or self.tokens < 1:
            return False
        self.tokens -= 1
        self.busy += 1
        return True

    def run(self, window: Window, until: float, retry_after: float | None = None) -> None:
        """Always more to send: drive the window until a time."""
        events = self.events
        while self.now < until:
            wait = window.wait_s(self.now)
            if wait == 0:
                ticket = window.send(self.now)
                good = self.take()
                self.count += 1
                delay = self.latency * self.random.uniform(*self.spread) if good else 0.005
                heapq.heappush(events, (self.now + delay, self.count, good, ticket))
                continue
            if events and (wait == float("inf") or events[0][0] <= self.now + wait):
                if events[0][0] > until:
                    break
                self.now, _, good, ticket = heapq.heappop(events)
                if good:
                    self.busy -= 1
                    self.answered.append(self.now)
                    window.answered(ticket, self.now)  # type: ignore[arg-type]
                else:
                    self.refused.append(self.now)
                    window.refused(ticket, self.now, retry_after)  # type: ignore[arg-type]
            elif self.now + wait > until:
                break
            else:
                self.now += wait
        self.now = until

    def rate(self, start: float, end: float) -> float:
        return sum(start <= t < end for t in self.answered) / (end - start)


@pytest.mark.parametrize("at_once", [1, 3, 8, 64, 200])
def test_finds_a_limit_of_calls_at_once(at_once: int) -> None:
    server = Simulated(at_once=at_once)
    server.run(Window(), 60.0)
    assert server.rate(10.0, 60.0) >= 0.95 * at_once / 2.0
    assert len(server.refused) <= 0.2 * len(server.answered) + 10


def test_retry_after_of_a_second_costs_little() -> None:
    server = Simulated(at_once=64)
    server.run(Window(), 60.0, retry_after=1.0)
    assert server.rate(10.0, 60.0) >= 0.95 * 32


def test_finds_a_limit_of_calls_a_minute() -> None:
    server = Simulated(per_minute=600, spread=(0.5, 1.5))
    server.run(Window(), 120.0)
    assert server.rate(20.0, 120.0) >= 0.8 * 10
    assert len(server.refused) <= 0.25 * len(server.answered)


def test_a_limit_that_drops_is_found_again_and_recovers() -> None:
    server = Simulated(at_once=100)
    window = Window()
    server.run(window, 30.0)
    server.at_once = 10
    server.run(window, 60.0)
    assert window.limit <= 13
    before = len(server.refused)
    server.run(window, 90.0)
    assert server.rate(60.0, 90.0) >= 0.9 * 5
    assert len(server.refused) - before <= 30
    server.at_once = 100
    server.run(window, 190.0)
    assert window.limit >= 40


def test_a_server_that_refuses_everything_is_asked_seldom() -> None:
    server = Simulated(at_once=0)
    window = Window()
    server.run(window, 300.0)
    assert len(server.refused) <= 20
    server.at_once = 20
    start = server.now
    server.run(window, start + 120.0)
    assert server.rate(start + 100.0, start + 120.0) >= 0.8 * 10


@pytest.mark.parametrize("latency", [2.0, 40.0])
def test_ramps_up_smoothly_and_not_at_once(latency: float) -> None:
    server = Simulated(latency=latency)
    window = Window()
    most_sent = before = 0
    for second in range(1, 31):
        server.run(window, float(second))
        most_sent = max(most_sent, server.count - before - len(server.answered))
        before = server.count - len(server.answered)
    assert window.in_flight >= 250
    assert most_sent <= 130


def test_a_limit_found_too_low_is_left_behind() -> None:
    server = Simulated(at_once=20)
    window = Window()
    server.run(window, 30.0)
    server.at_once = 200
    server.run(window, 75.0)
    assert window.limit > 150


@given(st.integers(1, 600), st.lists(st.floats(0.0, 3.0), max_size=30))
def test_a_hard_limit_holds_in_every_minute(per_minute: int, pauses: list[float]) -> None:
    window = Window(start=1000, most=1000, requests_per_minute=per_minute)
    now, sent = 0.0, []
    for pause in [*pauses, *[0.0] * 100]:
        now += pause
        now += window.wait_s(now)
        sent.append(now)
        window.send(now)
        window.in_flight = 0
    for i, start in enumerate(sent):
        assert sum(start <= t < start + 60 - 1e-6 for t in sent[i:]) <= per_minute


def test_tokens_a_minute_are_corrected_by_what_was_used() -> None:
    window = Window(tokens_per_minute=6000)
    ticket = window.send(0.0, tokens=100)
    assert window.wait_s(0.0) == pytest.approx(1.0)
    window.answered(ticket, 0.5, tokens=300)
    assert window.wait_s(0.5) == pytest.approx(2.5)


def test_the_gate_serves_in_order_and_survives_cancelling() -> None:
    async def main() -> list[int]:
        gate = Gate(Window(start=1, most=1))
        order = []

        async def call(i: int) -> None:
            ticket = await gate.enter()
            order.append(i)
            await asyncio.sleep(0.001)
            gate.answered(ticket)

        tasks = [asyncio.create_task(call(i)) for i in range(6)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert gate.window.in_flight == 0
        return order

    assert asyncio.run(main()) == [0, 1, 3, 4, 5]
