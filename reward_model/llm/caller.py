"""The one way to call a model: ledger first, then the provider, with retries and rate control.

async with Caller(ledger=Path("calls.jsonl"), budget_usd=20) as caller:
    answer = await caller.complete(llm, request)
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

from reward_model.llm.account import Account
from reward_model.llm.base import LLM, FatalError, RefusedError, Reply, Request, RetryableError
from reward_model.llm.capabilities import PROBE, capabilities, observe
from reward_model.llm.interrupt import on_interrupt
from reward_model.llm.lane import Lane
from reward_model.llm.prices import Prices, asked_tokens, counted
from reward_model.llm.rate import MOST, HaltedError, Ticket
from reward_model.records import Stopped
from reward_model.records.terminal import console

LONGEST_BACKOFF_S = 8.0
"""More would only slow a run through an outage, which `SILENT` stops."""
INTERRUPTED = "interrupted; what was finished is saved: run the same command to go on"
SILENT = 20
"""Requests given up one after another, with no answer between, before the run stops."""


class Answer(NamedTuple):
    """A reply and the key under which the ledger keeps it."""

    reply: Reply
    call: str
    cached: bool


class UnansweredError(Exception):
    """This call has no answer: final (`refused`) or owed to the next run (`failed`)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class Caller(Account):
    """Calls models; counts calls, tokens, cost and failures.

    Args:
        ledger: file that keeps every reply; None keeps them in memory.
        attempts: tries before a call is given up and owed to the next run. Rate limits do not
            count as tries: a call waits for its turn as long as the model answers others.
        timeout_s: longest wait for one reply. Once a model has answered some calls the wait is
            three times its slowest answer (at least 30 s), doubled for each try.
        max_concurrency: never more calls to one model out at once.
        requests_per_minute: hard limit for each model.
        tokens_per_minute: hard limit for each model.
        budget_usd: stop before the ledger's total, earlier runs included, passes this.
        prices: price table; None loads the one that ships.
        keep_prompts: write the requests into the ledger too (large).
        backoff_s: first wait after a failure; doubled each time, with jitter.
        patience_s: longest time to go on against rate limits without one answer.
    """

    def __init__(
        self,
        *,
        ledger: Path | None = None,
        attempts: int = 8,
        timeout_s: float = 600.0,
        max_concurrency: int = MOST,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        budget_usd: float | None = None,
        prices: Prices | None = None,
        keep_prompts: bool = False,
        backoff_s: float = 0.5,
        patience_s: float = 600.0,
    ) -> None:
        super().__init__(
            ledger=ledger,
            prices=prices,
            budget_usd=budget_usd,
            max_concurrency=max_concurrency,
            requests_per_minute=requests_per_minute,
            tokens_per_minute=tokens_per_minute,
            keep_prompts=keep_prompts,
            backoff_s=backoff_s,
        )
        self.attempts = attempts
        self.timeout_s = timeout_s
        self._patience_s = patience_s
        self._flights: dict[str, asyncio.Future[UnansweredError | None]] = {}
        self._stopped: str | None = None
        self._halt = asyncio.Event()
        self._signals = contextlib.ExitStack()
        self._random = random.Random()  # only spreads waiting times

    async def complete(self, llm: LLM, request: Request) -> Answer:
        """Answer a request, from the ledger if it was answered before.

        The same request asked twice at once is sent once.

        Raises:
            UnansweredError: no answer for this request.
            FatalError: no call to this model can work.
            Stopped: the budget is used up, or the provider is down.
        """
        key = request.key(llm.name, llm.base_url)
        while True:
            known = self._known(key)
            if known is not None:
                return known
            flight = self._flights.get(key)
            if flight is None:
                break
            await asyncio.wait((flight,))
            problem = flight.result()
            if problem is not None:
                raise UnansweredError(problem.reason, problem.detail)
        flight = asyncio.get_running_loop().create_future()
        self._flights[key] = flight
        problem = None
        try:
            return Answer(await self._ask(llm, request, key), key, False)
        except UnansweredError as error:
            problem = error
            self.reasons.add(error.reason, error.detail)
            raise
        finally:
            del self._flights[key]
            flight.set_result(problem)

    def _known(self, key: str) -> Answer | None:
        entry = self.ledger.get(key)
        if entry is None:
            return None
        self.counts["cached"] += 1
        if entry.reply is None:
            self.reasons.add("refused", entry.refused)
            raise UnansweredError("refused", entry.refused)
        return Answer(entry.reply, key, True)

    async def _ask(self, llm: LLM, request: Request, key: str) -> Reply:
        lane = self.lane(llm)
        about = self.about(llm, request.sample, request)
        tries = 0
        while True:
            self._check(lane)
            ticket, reserved = await self._turn(lane, llm, request)
            started = time.perf_counter()
            limit = lane.timeout_s(self.timeout_s, tries)
            open_ticket: Ticket | None = ticket
            try:
                try:
                    async with asyncio.timeout(limit):
                        reply = await llm.complete(request)
                except TimeoutError:
                    raise RetryableError(f"no answer in {limit:.0f} s", billed=True) from None
                latency = time.perf_counter() - started
                asked = asked_tokens(request) if llm.base_url else 0
                usage = counted(reply.usage, asked, reply.text) if asked else reply.usage
                reply = reply.model_copy(update={"latency_s": latency, "usage": usage})
                open_ticket = None
                lane.answered(ticket, reply)
                cost = self.budget.cost(llm, reply)
                self.ledger.add(key, reply, cost, about)
                self.counts["calls"] += 1
                lane.charge(cost)
                return reply
            except RefusedError as error:
                open_ticket = None
                lane.gate.answered(ticket)
                self.counts["refused"] += 1
                if error.content:
                    self.ledger.refuse(key, str(error), about)
                raise UnansweredError("refused", str(error)) from None
            except FatalError as error:
                lane.fatal = error
                self._wake()
                raise
            except RetryableError as error:
                open_ticket = None
                if error.billed:  # the model may have worked for it, whatever became of its answer
                    self.lose(lane, request, key, str(error), about)
                wait_s = self._failed(lane, ticket, error, tries)
                tries += not error.rate  # refused before any work: the window learns, not the call
            except asyncio.CancelledError:
                self.lose(lane, request, key, "cut off", about)
                raise
            finally:
                if open_ticket is not None:
                    lane.gate.failed(open_ticket)
                self.budget.settle(reserved)
            await self._pause(wait_s)

    async def _turn(self, lane: Lane, llm: LLM, request: Request) -> tuple[Ticket, float]:
        """Wait until the rate allows one more call and the budget holds its worst case."""
        self._check_size(lane, request)
        while True:
            try:
                ticket = await lane.gate.enter(lane.expected_tokens(request))
            except HaltedError:
                self._check(lane)
                raise
            try:
                self._check(lane)
                reserved = self.budget.reserve(llm, request)
                if reserved is not None:
                    return ticket, reserved
                if not self.budget.open:
                    self._stop(self.budget.words())
                self._check(lane)
            except BaseException:
                lane.gate.failed(ticket)
                raise
            lane.gate.failed(ticket)
            await self.budget.settled()

    def _check_size(self, lane: Lane, request: Request) -> None:
        """Refuse by name what no minute has room for."""
        limit, asked = self._limits[1], asked_tokens(request)
        if limit is None or asked <= limit:
            return
        self.counts["refused"] += 1
        raise UnansweredError(
            "refused",
            f"the request alone asks with about {asked:,} tokens, more than the limit of "
            f"{limit:,.0f} tokens a minute",
        )

    def _failed(
        self,
        lane: Lane,
        ticket: Ticket,
        error: RetryableError,
        tries: int,
    ) -> float:
        """Count a failure that may pass; returns how long to wait, or gives up."""
        if error.rate:
            self.counts["rate_limited"] += 1
            lane.gate.refused(ticket, error.retry_after_s)
            hopeless = lane.silent_s() > self._patience_s
        else:
            self.counts["retries"] += 1
            lane.gate.failed(ticket)
            hopeless = tries + 1 >= self.attempts
        if (error.retry_after_s or 0.0) > self._patience_s:
            self._stop(f"{lane.name} asks to wait {error.retry_after_s:.0f} s; run it again then")
        if hopeless:
            self.counts["failed"] += 1
            lane.given_up += 1
            if lane.given_up >= SILENT:
                self._stop(
                    f"{lane.name} at {lane.base_url or 'this machine'} answered none of the last "
                    f"{SILENT} requests (the last one: {error}); run it again later"
                )
            raise UnansweredError("failed", str(error))
        longest = min(LONGEST_BACKOFF_S, self._backoff_s * 2.0 ** min(tries, 10))
        # Apart by chance, or all calls that one outage hit would come back in the same instant.
        wait_s = longest * self._random.uniform(0.5, 1.0)
        return max(wait_s, (error.retry_after_s or 0.0) * self._random.uniform(1.0, 1.1))

    def _check(self, lane: Lane) -> None:
        if lane.fatal is not None:
            raise lane.fatal
        if self._stopped is not None:
            raise Stopped(self._stopped)

    def _stop(self, why: str) -> None:
        self._stopped = self._stopped or why
        self._wake()
        raise Stopped(self._stopped)

    def _wake(self) -> None:
        """Let everything that waits look whether there is a next try."""
        for lane in self._lanes.values():
            if self._stopped is not None or lane.fatal is not None:
                lane.gate.halt()
        self.budget.wake()
        self._halt.set()
        self._halt = asyncio.Event()

    def interrupt(self) -> None:
        """Take no more work: calls that are out are finished and kept, all others are stopped."""
        self._stopped = self._stopped or INTERRUPTED
        self._wake()
        if self.in_flight:
            console().print(
                f"finishing the {self.in_flight} calls that are out; Ctrl-C again cuts them off"
            )

    async def rest(self, seconds: float) -> None:
        """Wait without a call, as for a batch.

        Raises:
            Stopped: work was stopped meanwhile.
        """
        await self._pause(seconds)
        if self._stopped is not None:
            raise Stopped(self._stopped)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._halt.wait(), seconds)

    async def probe(self, llm: LLM) -> dict[str, Any]:
        """Ask one small question with every parameter and report what the model made of it.

        The parameters that the server refuses are learned on the way. The question is asked anew
        each time, and stands in the ledger like any call.

        Raises:
            FatalError: no call to this model can work.
            Stopped: the budget is used up, or the provider is down.
        """
        observed: dict[str, Any]
        try:
            observed = observe(await self._ask(llm, PROBE, PROBE.key(llm.name, llm.base_url)))
        except UnansweredError as error:
            observed = {"problem": str(error)}
        return {**capabilities(llm), "observed": observed}

    async def __aenter__(self) -> Self:
        self._signals.enter_context(on_interrupt(self.interrupt))
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._signals.close()
        self.ledger.close()
