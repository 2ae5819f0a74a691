"""One request from its headers to its answer: who may ask, how much, how long, and for what.

`Service.scores(request, items, ...)` puts texts into the queue and waits for them; every bound of
`Settings` is kept here, and every refusal counted.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import logging
import math
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from reward_model.records import UserError
from reward_model.records.chat.templates import load_template
from reward_model.score.serve.batching import Batcher, Broken, Full, Item, Job, ScoringError
from reward_model.score.serve.errors import ApiError, ClientGone
from reward_model.score.serve.evidence import Checks, reads_evidence
from reward_model.score.serve.metrics import Metrics
from reward_model.score.serve.settings import Settings

if TYPE_CHECKING:
    from reward_model.rubrics import Rubric
    from reward_model.score.scores import Score
    from reward_model.score.serve.scorers import Scorer

logger = logging.getLogger(__name__)

Done = TypeVar("Done")
Work = Callable[[Request, bytes], Awaitable[Response]]


@dataclass
class _Held:
    """What one request holds in memory."""

    bytes: int = 0


class Service:
    """A model behind a queue.

    Args:
        load: makes the scorer, in the worker thread.
        rubric: of the model.
        name: of the model, for clients.
        digest: of the model.
        settings: limits.
        key: what a client has to show; None lets all in.
        on_failed: called when the model does not load.
        on_ready: called when it is loaded.
    """

    def __init__(
        self,
        load: Callable[[], Scorer],
        rubric: Rubric,
        *,
        name: str,
        digest: str,
        settings: Settings,
        key: str | None = None,
        on_failed: Callable[[BaseException], None] = lambda error: None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.rubric, self.name, self.digest, self.settings = rubric, name, digest, settings
        self.template = load_template(settings.chat_template)
        self.metrics = Metrics(name, digest)
        self.draining = False
        self.active = 0
        """Requests being read, waiting or answered."""
        self.pending = 0
        """Bytes of their bodies."""
        self.keyed = key is not None
        self._key = None if key is None else key.encode()
        self._load, self._on_failed, self._on_ready = load, on_failed, on_ready
        self._batcher: Batcher | None = None
        self._warm = False
        self._tasks: set[asyncio.Future[Any]] = set()
        self.metrics.watch("queue_texts", "Texts waiting.", lambda: self.batcher.waiting)
        self.metrics.watch("active_requests", "Requests not answered yet.", lambda: self.active)
        self.metrics.watch("pending_bytes", "Bodies held in memory.", lambda: self.pending)
        self.metrics.watch("ready", "1 where texts are scored.", lambda: float(self.ready))

    def start(self) -> None:
        """Begin to load the model; to be called in the event loop that answers."""
        settings = self.settings
        self._batcher = Batcher(
            self._load,
            asyncio.get_running_loop(),
            max_items=settings.max_batch_items,
            max_tokens=settings.max_batch_tokens,
            max_wait=settings.max_wait_ms / 1000,
            max_queue=settings.max_queue,
            on_ready=self._loaded,
            on_pass=self.metrics.passed,
        )
        self.checks = Checks(settings.evidence_s)
        self._batcher.start()

    @property
    def batcher(self) -> Batcher:
        """The queue and its worker."""
        assert self._batcher is not None, "start() comes first"
        return self._batcher

    @property
    def ready(self) -> bool:
        """The model is loaded and new texts are taken."""
        return self._warm and not self.draining and not self.batcher.pause

    def _loaded(self, error: BaseException | None) -> None:
        if error is None:
            self._warming = asyncio.ensure_future(self._warm_up())
        else:
            self._on_failed(error)

    async def _warm_up(self) -> None:
        """Be ready once the checks are: the start of their processes is no text's own time."""
        if reads_evidence(self.batcher.loaded):
            await self.checks.warm_up()
        self._warm = True
        self._on_ready()

    def route(self, path: str, work: Work) -> Callable[[Request], Awaitable[Response]]:
        """`work` as a route that admits, reads, times and counts."""

        async def answer(request: Request) -> Response:
            began = time.perf_counter()
            self.active += 1
            try:
                response = await self._answer(request, work)
            except ApiError as error:
                self.metrics.refused.labels(error.kind).inc()
                response = error.response()
            except ClientGone:
                self.metrics.hung_up.inc()
                response = Response(status_code=499)  # goes nowhere
            except Exception as error:
                # The message may quote a text; kind and place are enough to find it.
                logger.error("%s failed: %s", path, type(error).__name__)
                logger.debug("%s", path, exc_info=True)
                response = ApiError(500, "internal", "the server failed on this").response()
            finally:
                self.active -= 1
            self.metrics.requests.labels(path, str(response.status_code)).inc()
            self.metrics.seconds.labels(path).observe(time.perf_counter() - began)
            return response

        return answer

    async def _answer(self, request: Request, work: Work) -> Response:
        self.check_key(request)
        self._check_open()
        held = _Held()
        try:
            async with asyncio.timeout(self.settings.timeout_s):
                coded = request.headers.get("content-encoding", "identity").strip().lower()
                if coded != "identity":
                    raise ApiError(415, "content_encoding", "send the body as it is, uncompressed")
                kind = request.headers.get("content-type", "")
                if kind.partition(";")[0].strip().lower() != "application/json":
                    raise ApiError(415, "media_type", "send JSON, as application/json")
                body = await self._unless(None, self._read(request, held))
                return await work(request, body)
        except TimeoutError:
            seconds = f"{self.settings.timeout_s:g}"
            raise ApiError(
                504, "timeout", f"no answer within {seconds} s", retry_after=self._later()
            ) from None
        finally:
            self.pending -= held.bytes

    async def _read(self, request: Request, held: _Held) -> bytes:
        """The body, refused as soon as it is known to be too much."""
        settings = self.settings
        large = ApiError(413, "too_large", f"the body is above {settings.max_body_mb:g} MB")
        declared = request.headers.get("content-length", "")
        if declared.isdecimal() and int(declared[:20]) > settings.max_body:
            raise large
        chunks: list[bytes] = []
        while True:
            message = await request.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            chunk = message.get("body", b"")
            held.bytes += len(chunk)
            self.pending += len(chunk)
            if held.bytes > settings.max_body:
                raise large
            if self.pending > settings.max_pending:
                raise self._overloaded("too many bytes wait to be scored")
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    def check_key(self, request: Request) -> None:
        """Refuse who does not show the key, as a bearer or as the password in a URL.

        Raises:
            ApiError: 401.
        """
        if self._key is None:
            return
        how, _, shown = request.headers.get("authorization", "").partition(" ")
        given = shown.strip().encode()
        if how.lower() == "basic":  # how http://any:KEY@host is sent
            with contextlib.suppress(binascii.Error, ValueError):
                given = base64.b64decode(given, validate=True).partition(b":")[2]
        elif how.lower() != "bearer":
            given = b""
        if not hmac.compare_digest(given, self._key):
            raise ApiError(401, "unauthorized", "send the key: Authorization: Bearer ...")

    def _check_open(self) -> None:
        if self.draining:
            raise ApiError(503, "draining", "the server is stopping", retry_after=1)
        if self.batcher.pause:
            raise self._broken()
        if not self._warm:
            raise ApiError(503, "not_ready", "the model is being loaded", retry_after=2)
        if self.active > self.settings.max_queue:
            raise self._overloaded("too many requests wait")

    def _broken(self) -> ApiError:
        later = max(1, math.ceil(self.batcher.pause))
        return ApiError(503, "broken", "the model fails on every text", retry_after=later)

    def _later(self) -> int:
        return min(60, max(1, math.ceil(self.batcher.seconds_ahead)))

    def _overloaded(self, why: str) -> ApiError:
        return ApiError(503, "overloaded", f"{why}: ask again later", retry_after=self._later())

    async def scores(
        self,
        request: Request,
        items: Sequence[Item],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> list[Score]:
        """Score texts, together with those of other requests; see `scored`."""
        return (await self.scored(request, items, weights=weights, risk=risk))[1]

    async def scored(
        self,
        request: Request,
        items: Sequence[Item],
        *,
        weights: Mapping[str, float] | None = None,
        risk: float | None = None,
    ) -> tuple[list[Item], list[Score]]:
        """Texts as the model read them, and their scores.

        Raises:
            ApiError: too many texts, no room, or the model refused or failed.
            ClientGone: nobody waits any more.
        """
        if len(items) > self.settings.max_items:
            raise ApiError(
                413, "too_many", f"{len(items)} texts; at most {self.settings.max_items} a request"
            )
        gone: asyncio.Future[None] = asyncio.ensure_future(_hang_up(request))
        try:
            read = await self._unless(gone, self._with_evidence(items))
            asked = [item for item in read if item.reason is None]
            found = await self._unless(gone, self._queued(asked, weights, risk)) if asked else []
        finally:
            gone.cancel()
        fresh = iter(found)
        scores = [
            no_opinion(item.reason) if item.reason is not None else next(fresh) for item in read
        ]
        self.metrics.scored(scores)
        return read, scores

    async def _with_evidence(self, items: Sequence[Item]) -> list[Item]:
        scorer, checks = self.batcher.loaded, self.checks
        if checks.waiting + len(items) > self.settings.max_queue:
            raise self._overloaded("too many texts wait to be checked")
        return await checks.read(scorer, items)

    async def _queued(
        self, items: Sequence[Item], weights: Mapping[str, float] | None, risk: float | None
    ) -> list[Score]:
        job = Job(items, weights, risk, asyncio.get_running_loop().create_future())
        try:
            self.batcher.submit(job)
            return await job.done
        except Full:
            raise self._overloaded("the queue is full") from None
        except Broken:
            raise self._broken() from None
        except UserError as error:
            raise ApiError(422, "invalid_request", str(error)) from None
        except ScoringError:
            raise ApiError(500, "scoring", "the model failed on a text") from None
        finally:
            self.batcher.drop(job)
            job.done.cancel()

    async def _unless(
        self, gone: asyncio.Future[None] | None, work: Coroutine[Any, Any, Done]
    ) -> Done:
        """The result of some work, which is given up when the client leaves or the server stops."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        waited: set[asyncio.Future[Any]] = {task} if gone is None else {task, gone}
        try:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise ClientGone
            if task.cancelled():
                raise ApiError(503, "draining", "the server is stopping", retry_after=1)
            return task.result()
        finally:
            task.cancel()
            self._tasks.discard(task)

    def stop(self) -> None:
        """Let go of what still waits, and of what is being scored: it is answered 503."""
        for task in self._tasks:
            task.cancel()
        self.batcher.close()


async def _hang_up(request: Request) -> None:
    """Returns when the client closes its connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def no_opinion(reason: str | None) -> Score:
    """Of a text that the model is not shown."""
    from reward_model.score.scores import Score

    return Score(None, reason=reason)


def served_name(folder: Path) -> str:
    """A model's name for clients: its folder, without where on the disk that is.

    >>> served_name(Path("outputs/multidim/best"))
    'multidim/best'
    >>> served_name(Path("hub/models--me--model/snapshots/0f3a"))
    'me/model'
    """
    parts = folder.resolve().parts
    if parts[-2:-1] == ("snapshots",) and parts[-3].startswith("models--"):  # fetched from a hub
        return parts[-3].removeprefix("models--").replace("--", "/")
    return "/".join(parts[-2:]) if parts[-1] == "best" else parts[-1]
