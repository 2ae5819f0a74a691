"""Scores from a running `reward-model serve`, with the interface of a scorer.

`RewardClient("http://localhost:8000").score_batch(prompts, responses)`; a busy or restarting server
is waited for, and what it does not score is an error, never a number.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import random
import selectors
import threading
import time
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from reward_model.records import UserError
from reward_model.records.errors import require
from reward_model.rlhf import wire
from reward_model.rlhf.address import read_address
from reward_model.rlhf.background import OPENED, STARTED, Opened, every, let_go
from reward_model.rlhf.wire import FALLBACK, KEY
from reward_model.score.memory import ForkLock
from reward_model.score.terms import (
    checked_key,
    checked_reward,
    checked_risk,
    checked_seconds,
    checked_weights,
)

if TYPE_CHECKING:
    from reward_model.records.texts import Words
    from reward_model.score.scores import Score

T = TypeVar("T")
logger = logging.getLogger(__name__)


_BUSY = (429, 502, 503, 504)
"""Answers of a server that is full, starting, stopping or slow: the same request may succeed."""
_BROKEN = "the text is not valid Unicode: it holds half of a character"
PATIENCE = 600.0
"""Seconds that a server is waited for where nothing else is said."""
_REMIND = 60.0
"""Seconds between two warnings that a server is waited for."""


class UnreachableError(UserError):
    """A server that gave no scores for as long as was waited: other texts would fare no better."""


class _PatienceError(UnreachableError):
    """It was waited for as long as was declared."""


class RewardClient:
    """Scores over HTTP; for any number of threads and event loops at once.

    Requests run on one background thread, which keeps connections open. A copy sent to another
    process opens its own.

    Args:
        url: address of the server: ``http://localhost:8000``, or ``localhost:8000``.
        key: bearer key; if not given, the one in the address (``http://any:KEY@HOST``) or in the
            environment variable REWARD_MODEL_KEY.
        timeout: seconds one request may take, from when it is sent.
        patience: seconds to go on asking a server that is busy or not there, from the first try.
        connections: requests on their way at once; the others wait for their turn.
        fallback_reward: what a response earns when no request was answered for `patience` seconds.
            None: that is an error. Such rewards are counted (`fallbacks`) and logged, and their
            scores have a `reason` and no levels.
        dimensions: names of the model's, known before the server is first reached: with a fallback,
            so that every row of a trainer has them.

    Raises:
        UserError: an address that is none, a fallback that is no number, or no aiohttp.
    """

    def __init__(
        self,
        url: str,
        *,
        key: str | None = None,
        timeout: float = 300.0,
        patience: float = PATIENCE,
        connections: int = 64,
        fallback_reward: float | None = None,
        dimensions: Sequence[str] = (),
    ) -> None:
        address = read_address(url)
        if not isinstance(connections, int) or connections < 1:
            raise UserError(f"{connections!r} connections", expected="a whole number, at least 1")
        require("talking to the server", "client", "aiohttp")
        self.url = address.url
        self._key = checked_key(key) or address.key
        self._timeout = checked_seconds(timeout, "timeout")
        self._patience = checked_seconds(patience, "patience")
        self._connections = connections
        self._fallback = checked_reward(fallback_reward, "fallback_reward")
        self.dimensions = tuple(dimensions)
        """Names that were declared."""
        self._alive = -math.inf
        self.fallbacks = 0
        """Responses that got `fallback_reward`."""
        self._start_lock = ForkLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = 0
        self._session: Any = None
        self._slots = asyncio.Semaphore(connections)
        self._warned = -math.inf

    def score(self, prompt: Words, response: Words, **options: Any) -> Score:
        """Score one response; see `score_batch`."""
        return self.score_batch([prompt], [response], **options)[0]

    def score_batch(
        self,
        prompts: Sequence[Words],
        responses: Sequence[Words],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> list[Score]:
        """Score responses, one score each in the order given.

        Raises:
            UserError: the server refuses the texts, gives something else than scores, or cannot be
                reached for as long as `patience`; or the client was closed meanwhile.
        """
        future = self._started(self._score(prompts, responses, weights, risk))
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def lowest(self) -> tuple[float, dict[str, float]] | None:
        """What the lowest level earns of a server of centred rewards, the scalar and by dimension;
        None where the server does not say it."""
        return self._started(self._lowest()).result()

    async def _lowest(self) -> tuple[float, dict[str, float]] | None:
        import aiohttp

        try:
            async with self._session.get(f"{self.url}/v1/models") as answer:
                return wire.lowest(await answer.text(errors="replace"))
        except (aiohttp.ClientError, TimeoutError):
            return None

    async def score_async(
        self,
        prompts: Sequence[Words],
        responses: Sequence[Words],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> list[Score]:
        """`score_batch` for a caller in an event loop."""
        future = self._started(self._score(prompts, responses, weights, risk))
        return await asyncio.wrap_future(future)

    async def _score(
        self,
        prompts: Sequence[Words],
        responses: Sequence[Words],
        weights: Mapping[str, float] | None,
        risk: float | None,
    ) -> list[Score]:
        from reward_model.records.chat.turns import judged
        from reward_model.records.texts import as_pairs
        from reward_model.score.scores import Score

        # What is judged is found here, where calls of tools and thoughts of a chat are known.
        read = [judged(prompt, response) for prompt, response in as_pairs(prompts, responses)]
        items = [{"prompt": wire.plain(one.prompt), "response": one.text} for one in read]
        terms = {"weights": checked_weights(weights), "risk": checked_risk(risk)}
        options = {name: value for name, value in terms.items() if value is not None}
        # No server can read half of a character: one such text would take all beside it along.
        reasons = [
            one.reason or (_BROKEN if wire.is_broken(item) else None)
            for one, item in zip(read, items, strict=True)
        ]
        sent = [item for item, reason in zip(items, reasons, strict=True) if reason is None]
        try:
            begun = time.monotonic()
            parts = await every(self._post(part, options, begun) for part in wire.parts(sent))
        except asyncio.CancelledError:
            if self._loop is not None:
                raise
            raise UserError("a client that was closed before its scores came") from None
        scores = iter(wire.joined(parts))
        return [
            next(scores) if reason is None else Score(None, reason=reason) for reason in reasons
        ]

    async def _post(
        self, items: list[dict[str, Any]], options: dict[str, Any], begun: float
    ) -> list[Score]:
        """The scores of one request, or of its halves where the server takes less at once."""
        async with self._slots:
            try:
                scores = await self._answered(items, options, begun)
            except _PatienceError as error:
                if self._fallback is None:
                    raise
                return self._fallen_back(len(items), self._fallback, error)
        if scores is not None:
            return scores
        half = len(items) // 2
        halves = (items[:half], items[half:])
        return wire.joined(await every(self._post(part, options, begun) for part in halves))

    async def _answered(
        self, items: list[dict[str, Any]], options: dict[str, Any], begun: float
    ) -> list[Score] | None:
        """Post one request until it is answered or patience ends; None where it is too large."""
        import aiohttp

        data = json.dumps({"items": items, **options}, ensure_ascii=False).encode()
        first = time.monotonic()
        tries = 0
        while True:
            tries += 1
            limit = self._timeout
            if self._fallback is not None:
                limit = min(limit, max(self._until(first, begun) - time.monotonic(), 0.05))
            try:
                async with self._session.post(
                    f"{self.url}/v1/score", data=data, timeout=aiohttp.ClientTimeout(total=limit)
                ) as answer:
                    status, headers = answer.status, answer.headers
                    text = await answer.text(errors="replace")
            except (
                aiohttp.InvalidURL,
                aiohttp.ClientConnectorCertificateError,
                aiohttp.TooManyRedirects,
            ) as error:
                raise UnreachableError(
                    f"{type(error).__name__} ({error}) at {self.url}",
                    expected="http://HOST:PORT of reward-model serve, or https with a "
                    "certificate that is trusted here",
                ) from None
            except (aiohttp.ClientError, TimeoutError) as error:
                late = isinstance(error, TimeoutError) and not str(error)
                trouble = (
                    f"no answer in {limit:g} s" if late else f"{type(error).__name__} ({error})"
                )
                asked = None
            else:
                if status == 413 and len(items) > 1:
                    return None
                if status not in _BUSY:
                    self._alive = time.monotonic()
                    return wire.scores(status, text, len(items), self.url)
                trouble = f"{status} ({wire.message(text)})"
                asked = wire.retry_after(headers.get("Retry-After"))
            # Clients that failed together must not come back together.
            pause = min(30.0, 0.25 * 2 ** min(tries, 10)) * random.uniform(0.5, 1.0)
            pause = pause if asked is None else asked + random.uniform(0.0, 0.25)
            left = self._until(first, begun) - time.monotonic()
            if self._fallback is not None and left > 0:
                pause = min(pause, left)
            if pause > left:
                raise _PatienceError(
                    f"{trouble} from {self.url} after {tries} tries within {self._patience:g} s",
                    expected="scores",
                    mend="see that reward-model serve runs there and is not overloaded",
                )
            self._warn(trouble)
            await asyncio.sleep(pause)

    def _until(self, first: float, begun: float) -> float:
        """When patience ends. With a declared reward the time is for all requests together, and
        any that is answered begins it anew; else it is for each, from its first try.
        """
        since = first if self._fallback is None else max(begun, self._alive)
        return since + self._patience

    def _fallen_back(self, count: int, reward: float, error: UserError) -> list[Score]:
        """The declared reward, counted and told each time."""
        from reward_model.score.scores import Score

        self.fallbacks += count
        logger.warning(
            "%s: %d responses get the declared fallback_reward %g (%d so far)",
            error.found, count, reward, self.fallbacks,
        )  # fmt: skip
        return [Score(reward, reason=f"{FALLBACK}: {error.found}") for _ in range(count)]

    def _warn(self, trouble: str) -> None:
        """Say what is waited for, once a minute for all requests together."""
        now = time.monotonic()
        if now - self._warned >= _REMIND:
            self._warned = now
            logger.warning(
                "%s from %s: asking again, for at most %g s", trouble, self.url, self._patience
            )

    def _started(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run on the background loop; a process made by fork starts its own."""
        with self._start_lock:
            if self._loop is None or self._pid != os.getpid():
                try:
                    self._start()
                except BaseException:
                    coroutine.close()
                    raise
            assert self._loop is not None
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _start(self) -> None:
        selector = selectors.DefaultSelector()
        loop = asyncio.SelectorEventLoop(selector)

        def work() -> None:
            loop.run_forever()
            loop.close()

        thread = threading.Thread(target=work, name="reward-client", daemon=True)
        thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._open(), loop).result()
        except BaseException:
            loop.call_soon_threadsafe(loop.stop)
            raise
        self._loop, self._thread, self._pid = loop, thread, os.getpid()
        STARTED.add(self)
        OPENED[loop] = Opened(loop, selector, self._session)
        weakref.finalize(self, let_go, loop, self._session, self._pid).atexit = False

    async def _open(self) -> None:
        import aiohttp

        headers = {"Content-Type": "application/json"}
        key = self._key or checked_key(os.environ.get(KEY), KEY)
        if key:
            headers["Authorization"] = f"Bearer {key}"
        self._slots = asyncio.Semaphore(self._connections)
        self._session = aiohttp.ClientSession(
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
            # A request that waits for its turn here must not use up its timeout by it.
            connector=aiohttp.TCPConnector(limit=0),
        )

    def __enter__(self) -> RewardClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and the thread; a later call opens them again.

        Who still waits for scores in another thread is told so by an error.
        """
        with self._start_lock:
            loop, self._loop = self._loop, None
            if loop is None or self._pid != os.getpid() or self._thread is None:
                return
            asyncio.run_coroutine_threadsafe(self._end(), loop).result()
            OPENED.pop(loop, None)
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()

    async def _end(self) -> None:
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self._session.close()

    @property
    def settings(self) -> tuple[Any, ...]:
        """All but the address; `with_settings` makes the same client of them, in any process."""
        limits = self._timeout, self._patience, self._connections
        return self._key, *limits, self._fallback, self.dimensions

    @classmethod
    def with_settings(cls, url: str, settings: tuple[Any, ...] = ()) -> RewardClient:
        """A client like another one; the defaults without settings."""
        names = ("key", "timeout", "patience", "connections", "fallback_reward", "dimensions")
        return cls(url, **dict(zip(names, settings, strict=bool(settings))))

    def __reduce__(self) -> tuple[Any, ...]:
        return RewardClient.with_settings, (self.url, self.settings)
