"""Batch mode: requests sent in files through the provider's Batch API, at half the price.

Replies go into the caller's ledger, so an ordinary run afterwards finds them all there, and asks
itself only for what the batches owe. A manifest remembers the open batches across days and kills.

    batches = Batches(llm, caller, Path("batches.json"))
    await batches.submit(requests)
    await batches.wait()
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeVar

from pydantic import ValidationError

from reward_model.llm.base import FatalError, LLMError, RefusedError, Request, RetryableError
from reward_model.llm.caller import Caller
from reward_model.llm.failures import connection_error, failure, is_of_proxy, quote
from reward_model.llm.manifest import Manifest, OpenBatch
from reward_model.llm.openai import OpenAILLM
from reward_model.llm.prices import asked_tokens, counted
from reward_model.llm.replies import error_fields, read_body
from reward_model.records import Stopped, UserError, digest, explain_os_error, write_json

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types import Batch

T = TypeVar("T")

PRICE_SHARE = 0.5
"""Part of the usual price that a batched call costs at OpenAI and Alibaba."""
MOST_LINES = 50_000
MOST_BYTES = 200 * 10**6
"""Limits of a file at OpenAI; Alibaba's (50,000 lines, 500 MB) are no lower."""
_ENDED = {"completed", "failed", "expired", "cancelled"}


class Progress(NamedTuple):
    """Where the batches stand."""

    open: int
    """Requests in batches that have not ended."""
    answered: int
    """Replies put into the ledger by this object."""
    refused: int
    owed: int
    """Requests whose batch ended without a reply to them: submit them again, or just call."""
    failed: int = 0
    """Those of them whose batch the provider rejected as a whole: it would do so again."""
    lost: int = 0
    """Those of them whose batch ran out of time, was cancelled or is not known any more."""
    lessons: int = 0
    """What the rows taught about the model, so that the same requests are sent otherwise."""
    problems: tuple[str, ...] = ()
    """Why batches failed as a whole, in words."""


class Batches:
    """The batches of one model.

    Args:
        llm: a model whose server has the Batch API.
        caller: its ledger takes the replies, its budget holds back the worst case.
        manifest: file that remembers the open batches; one for each model.

    Raises:
        UserError: the manifest belongs to another model or is none.
    """

    def __init__(
        self,
        llm: OpenAILLM,
        caller: Caller,
        manifest: Path,
        *,
        most_lines: int = MOST_LINES,
        most_bytes: int = MOST_BYTES,
        backoff_s: float = 1.0,
    ) -> None:
        self._backoff_s = backoff_s
        self._llm, self._caller, self._path = llm, caller, manifest
        self._most_lines, self._most_bytes = most_lines, most_bytes
        self._answered = self._refused = self._owed = self._failed = self._lost = 0
        self._problems: list[str] = []
        self._manifest = self._load()
        llm.accepts.remember(self._manifest.learned)
        self._known = len(llm.accepts.learned)

    def _load(self) -> Manifest:
        fresh = Manifest(model=self._llm.name, base_url=self._llm.base_url)
        try:
            text = self._path.read_text("utf-8")
        except FileNotFoundError:
            return fresh
        except OSError as error:
            raise explain_os_error(error, self._path) from None
        try:
            found = Manifest.model_validate_json(text)
        except ValidationError:
            raise UserError("no manifest of batches", path=self._path) from None
        if (found.model, found.base_url) != (fresh.model, fresh.base_url):
            raise UserError(
                f"batches of {found.model} at {found.base_url}",
                expected=f"those of {fresh.model} at {fresh.base_url}",
                mend="give each model a manifest of its own",
                path=self._path,
            )
        return found

    def _save(self) -> None:
        write_json(self._path, self._manifest.model_dump(mode="json"))

    @property
    def progress(self) -> Progress:
        """Where the batches stand, as far as is known."""
        waiting = sum(len(one.keys) for one in self._manifest.open)
        return Progress(
            waiting,
            self._answered,
            self._refused,
            self._owed,
            self._failed,
            self._lost,
            len(self._llm.accepts.learned) - self._known,
            tuple(self._problems),
        )

    async def submit(self, requests: Iterable[Request]) -> int:
        """Send what is neither in the ledger nor in an open batch; returns how many were sent.

        Raises:
            FatalError: no request to this model can work.
            Stopped: not even the first request fits the budget.
        """
        await self._adopt()
        budget = self._caller.budget
        known = {key for one in self._manifest.open for key in one.keys}
        held = sum(one.most_usd for one in self._manifest.open)
        sent = 0
        part = _Part()
        for request in requests:
            key = request.key(self._llm.name, self._llm.base_url)
            if key in known or self._caller.ledger.get(key) is not None:
                continue
            most = PRICE_SHARE * budget.most(self._llm, request)
            if not budget.fits(held + most):
                if not sent and not part.keys:
                    raise Stopped(budget.words())
                break
            known.add(key)
            held += most
            body = self._llm.body(request)
            body.pop("stream", None)  # a file has no streams
            body.pop("stream_options", None)
            line = _line(key, request.sample, body)
            if len(line) > self._most_bytes:
                raise UserError(
                    f"a request of {len(line):,} bytes",
                    expected=f"at most {self._most_bytes:,}, the limit of a batch file",
                    mend="shorten it, or leave batch mode out",
                )
            if len(part.keys) == self._most_lines or part.size + len(line) > self._most_bytes:
                sent += await self._send(part)
                part = _Part()
            part.add(key, line, most, body, asked_tokens(request))
        if part.keys:
            sent += await self._send(part)
        return sent

    async def _send(self, part: _Part) -> int:
        tag = digest([part.keys, len(self._manifest.open)], 16)
        without = self._llm.accepts.without()
        one = OpenBatch(
            tag=tag,
            keys=part.keys,
            most_usd=part.most_usd,
            without=without,
            sent=part.sent,
            asked=part.asked,
        )
        sdk = self._llm.sdk()
        try:
            part.file.seek(0)
            content = (f"{tag}.jsonl", part.file.read())
            file = await self._tell(lambda: sdk.files.create(file=content, purpose="batch"))
            # From here to the answer a kill leaves a batch that only its tag can find.
            self._manifest.open.append(one)
            self._save()
            batch = await self._tell(
                lambda: sdk.batches.create(
                    input_file_id=file.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                    metadata={"tag": tag},
                ),
                attempts=1,  # a second try could make a second batch
            )
            one.id = batch.id
            self._save()
        finally:
            part.file.close()
            await sdk.close()
        return len(part.keys)

    async def _adopt(self) -> None:
        """Find the batches whose creation was cut off; forget those that never came to be."""
        if all(one.id for one in self._manifest.open):
            return
        sdk = self._llm.sdk()

        async def ids() -> dict[str, str]:
            found = {}
            async for batch in sdk.batches.list(limit=100):
                found[(batch.metadata or {}).get("tag", "")] = batch.id
            return found

        try:
            found = await self._tell(ids)
        finally:
            await sdk.close()
        for one in self._manifest.open:
            one.id = one.id or found.get(one.tag)
        self._manifest.open = [one for one in self._manifest.open if one.id]
        self._save()

    async def collect(self) -> Progress:
        """Ask once how the batches stand, and put the replies of those that ended in the ledger.

        Raises:
            FatalError: no request to this model can work.
        """
        await self._adopt()
        sdk = self._llm.sdk()
        try:
            for one in list(self._manifest.open):
                batch = await self._tell(partial(_found, sdk, str(one.id)))
                if batch is not None and batch.status not in _ENDED:
                    continue
                fatal = None
                for name in (batch.output_file_id, batch.error_file_id) if batch else ():
                    if name:
                        content = await self._tell(partial(sdk.files.content, name))
                        fatal = self._take(content.content, one) or fatal
                self._close(one, batch)
                if fatal is not None:
                    raise fatal
        finally:
            await sdk.close()
        return self.progress

    def _close(self, one: OpenBatch, batch: Batch | None) -> None:
        """Count what an ended batch leaves owed, and why."""
        owed = sum(self._caller.ledger.get(key) is None for key in one.keys)
        self._owed += owed
        if batch is None:
            self._problems.append(f"lost: the provider knows no batch {one.id} any more")
        elif batch.errors and batch.errors.data:
            said = self._llm.where.masked(batch.errors.data[0].message or "")
            self._problems.append(f"{batch.status}: {quote(said)}")
        elif batch.status != "completed":
            self._problems.append(batch.status)
        if batch is not None and batch.status == "failed":
            self._failed += owed
        elif batch is None or batch.status in {"expired", "cancelled"}:
            self._lost += owed
        self._manifest.open.remove(one)
        self._manifest.learned = self._llm.accepts.taught()
        self._save()

    def _take(self, data: bytes, one: OpenBatch) -> FatalError | None:
        fatal = None
        asked = dict(zip(one.keys, one.asked, strict=False))
        for raw in data.splitlines():
            try:
                row = json.loads(raw)
                key, _, sample = str(row["custom_id"]).partition(".")
                response = row.get("response") or {}
                body, status = response.get("body"), int(response.get("status_code") or 0)
            except (ValueError, KeyError, TypeError, AttributeError):
                continue  # the request behind a broken line is owed
            if self._caller.ledger.get(key) is not None:
                continue
            try:
                if status != 200:
                    code, message, param = error_fields(body or row)
                    if status in {400, 422}:
                        self._llm.accepts.learn(one.sent, param, message)
                    raise failure(status, code, message, self._llm.where)
                reply = read_body(body, self._llm.where)
                usage = counted(reply.usage, asked.get(key, 0), reply.text)
                reply = reply.model_copy(update={"without": one.without, "usage": usage})
                self._caller.keep(self._llm, key, int(sample or 0), reply, PRICE_SHARE)
                self._answered += 1
            except RefusedError as error:
                if error.content:
                    self._caller.refuse(self._llm, key, int(sample or 0), str(error))
                    self._refused += 1
                else:
                    self._caller.reasons.add("refused", str(error))
            except FatalError as error:
                fatal = error
            except LLMError as error:  # owed
                self._caller.reasons.add("failed", str(error))
        return fatal

    async def wait(self, poll_s: float = 60.0) -> Progress:
        """Collect until no batch is open."""
        while (progress := await self.collect()).open:
            await self._caller.rest(poll_s)
        return progress

    async def _tell(self, call: Callable[[], Awaitable[T]], attempts: int = 6) -> T:
        """Make a call of the SDK, again if it may pass; its errors in our words."""
        from openai import APIConnectionError, APIStatusError

        meaning: LLMError
        for attempt in range(attempts):
            try:
                return await call()
            except APIStatusError as error:
                code, message, _ = error_fields(error.body)
                meaning = failure(error.status_code, code, message, self._llm.where)
            except Exception as error:
                if not isinstance(error, APIConnectionError) and not is_of_proxy(error):
                    raise
                meaning = connection_error(error, self._llm.where, sent=False)
            if not isinstance(meaning, RetryableError):
                raise UserError(str(meaning)) if isinstance(meaning, RefusedError) else meaning
            if attempt + 1 < attempts:
                await self._caller.rest(self._backoff_s * 2**attempt)
        raise Stopped(f"the Batch API at {self._llm.base_url} does not answer ({meaning})")


async def _found(sdk: AsyncOpenAI, name: str) -> Batch | None:
    """A batch; None where the provider does not know it any more."""
    from openai import NotFoundError

    try:
        return await sdk.batches.retrieve(name)
    except NotFoundError:
        return None


class _Part:
    """Lines of one file to send."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.sent: dict[str, Any] = {}
        self.asked: list[int] = []
        self.size = 0
        self.most_usd = 0.0
        self.file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - `_send` closes it

    def add(self, key: str, line: bytes, most_usd: float, body: dict[str, Any], asked: int) -> None:
        self.keys.append(key)
        self.asked.append(asked)
        if any(message["role"] == "system" for message in body["messages"]):
            self.sent["messages"] = [{"role": "system"}]
        form = body.get("response_format")
        self.sent |= dict.fromkeys(body.keys() - {"model", "messages", "response_format"})
        if "reasoning_effort" in body:
            self.sent["reasoning_effort"] = body["reasoning_effort"]
        if form is not None:
            self.sent["response_format"] = {"type": form["type"]}
        self.size += self.file.write(line)
        self.most_usd += most_usd


def _line(key: str, sample: int, body: dict[str, Any]) -> bytes:
    row = {
        "custom_id": f"{key}.{sample}",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": body,
    }
    return json.dumps(row, ensure_ascii=False).encode() + b"\n"
