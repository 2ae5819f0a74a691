"""Work done in batches: what the ledger lacks is put down for a batch instead of being sent.

`rounds(...)` lets the ordinary work run over and over: each time with the replies that have come,
and each time the calls that it lacked go out as batches, until the work lacks none.
"""

from __future__ import annotations

import glob
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

from reward_model.llm.base import LLM, Request
from reward_model.llm.batch import Batches
from reward_model.llm.caller import Answer, Caller, UnansweredError
from reward_model.llm.manifest import Manifest
from reward_model.llm.openai import OpenAILLM
from reward_model.records import Stopped, UserError
from reward_model.records.terminal import console

LONGEST_POLL_S = 60.0


class Pending:
    """Stands where a `Caller` would: answers from its ledger, and notes what is not there."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        # On disk: the prompts of ten thousand reports can be long.
        self._noted: dict[str, tempfile.SpooledTemporaryFile[bytes]] = {}

    async def complete(self, llm: LLM, request: Request) -> Answer:
        """The reply from the ledger.

        Raises:
            UnansweredError: the request was refused, or (`waiting`) goes into the next batch.
        """
        if self._caller.ledger.get(request.key(llm.name, llm.base_url)) is not None:
            return await self._caller.complete(llm, request)
        if llm.name not in self._noted:
            self._noted[llm.name] = tempfile.SpooledTemporaryFile(max_size=2**24)  # noqa: SIM115
        self._noted[llm.name].write(request.model_dump_json().encode() + b"\n")
        raise UnansweredError("waiting", "goes into the next batch")

    def take(self, llm: LLM) -> Iterator[Request]:
        """The requests to a model that were noted, once."""
        file = self._noted.pop(llm.name, None)
        if file is None:
            return
        with file:
            file.seek(0)
            for line in file:
                yield Request.model_validate_json(line)


def batchable(llms: Sequence[LLM]) -> list[OpenAILLM]:
    """The models, all of which have a Batch API.

    Raises:
        UserError: one has none.
    """
    found = [llm for llm in llms if isinstance(llm, OpenAILLM)]
    for llm in llms:
        if llm not in found:
            raise UserError(
                f"batch mode with {llm.name}",
                expected="openai:MODEL at a server with the Batch API of OpenAI",
                mend="for Qwen: openai:MODEL with --base-url of the compatible mode",
            )
    return found


def check_none_open(manifest: Path) -> None:
    """Before calls are made at once: none of them is under way in a batch, to be paid twice.

    Raises:
        UserError: batches that another run sent have not been collected.
    """
    for path in sorted(
        {manifest, *manifest.parent.glob(f"{glob.escape(manifest.stem)}.*{manifest.suffix}")}
    ):
        try:
            found = Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValueError):
            continue  # no batches: what is no manifest is told by whom uses it
        if waiting := sum(len(one.keys) for one in found.open):
            raise UserError(
                f"{waiting:,} calls in batches that are under way",
                expected="--batch, to collect them",
                mend="remove the file to pay for them once more",
                path=path,
            )


async def rounds(
    caller: Caller,
    llms: Sequence[OpenAILLM],
    manifest: Path,
    work: Callable[[Pending], Awaitable[None]],
    *,
    wait: bool,
) -> None:
    """Do the work with what the ledger holds, and send what it lacks, until it lacks nothing.

    Args:
        manifest: file that remembers the open batches; of several models each has its own.
        work: asks a `Pending` for every reply it needs, and leaves out what is `waiting`.
        wait: wait for batches under way.

    Raises:
        Stopped: batches are under way, or the last one brought no reply at all.
    """
    every = []
    for number, llm in enumerate(llms):
        path = manifest.with_suffix(f".{number}{manifest.suffix}") if number else manifest
        every.append((llm, Batches(llm, caller, path)))
    pending = Pending(caller)
    while True:
        await _collect(every, caller)
        caller.counts["cached"] = 0  # each round takes everything from the ledger anew
        await work(pending)
        came = sum(batches.progress.answered + batches.progress.refused for _, batches in every)
        caller.counts["cached"] = max(0, caller.counts["cached"] - came)
        stop = None
        for llm, batches in every:
            try:
                await batches.submit(pending.take(llm))
            except Stopped as used_up:
                stop = used_up
        if not (waiting := sum(batches.progress.open for _, batches in every)):
            if stop is not None:
                raise stop
            return
        if not wait:
            raise Stopped(
                f"{waiting:,} calls are in batches with the provider, which takes up to a day; "
                "run the same command again to go on with their replies"
            )
        console().print(f"{waiting:,} calls are in batches with the provider; waiting for them")
        pause_s = 1.0
        while sum(batches.progress.open for _, batches in every) == waiting:
            await caller.rest(pause_s)
            pause_s = min(LONGEST_POLL_S, 2 * pause_s)
            await _collect(every, caller)


async def _collect(every: Sequence[tuple[OpenAILLM, Batches]], caller: Caller) -> None:
    for llm, batches in every:
        before = batches.progress
        after = await batches.collect()
        told = [*(one["detail"] for one in caller.reasons.commonest(1)), *after.problems]
        why = f" ({told[-1]})" if told else ""
        if failed := after.failed - before.failed:
            raise Stopped(
                f"the provider rejected a batch of {llm.name} as a whole{why}; none of its "
                f"{failed:,} calls was made. Mend that and run the same command again, or run it "
                "without --batch"
            )
        lost = after.owed - before.owed
        answered = after.answered + after.refused - before.answered - before.refused
        # Sent again without end, such lines would be lost each time.
        if lost and not answered and after.lessons == before.lessons:
            raise Stopped(
                f"a batch of {llm.name} came back without a reply to its {lost:,} calls{why}; run "
                "the same command again to send them anew, or without --batch to make them at once"
            )
