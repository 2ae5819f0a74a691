"""A service under uvicorn: one port, signals, and a stop that finishes what was accepted.

`serve(models, settings, host=..., port=...)` returns when it was told to stop and all is answered.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from reward_model.model.folder import read_rubric
from reward_model.records import Stopped, UserError
from reward_model.records.errors import first_line
from reward_model.records.terminal import console
from reward_model.score.files.workers import Models
from reward_model.score.serve.app import create_app
from reward_model.score.serve.connection import BoundedConnection
from reward_model.score.serve.service import Service, served_name
from reward_model.score.serve.settings import Settings
from reward_model.score.terms import checked_key

KEY = "REWARD_MODEL_KEY"
"""Environment variable of the key that clients have to show."""


class Server(uvicorn.Server):
    """uvicorn that drains first: what was accepted is answered, what comes new is refused."""

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(config)
        self.service, self.announce = service, announce
        self.cut_off = False
        """It stopped before all was answered."""
        self._since = 0.0
        self._hurry = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Load the model beside the answering."""
        self.service.start()
        await super().startup(sockets)
        self.announce()  # from here on signals are ours

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal drains, the second answers 503 and leaves, a third just leaves."""
        if self._hurry:
            self.force_exit = self.should_exit = True
        if self.service.draining:
            self._hurry = True
            return
        self.service.draining = True
        self._since = time.monotonic()

    async def on_tick(self, counter: int) -> bool:
        """Whether it is time to leave."""
        leave = await super().on_tick(counter)
        if not self.service.draining or leave:
            return leave
        if not self.service.active:
            return True
        self.cut_off = self._hurry or time.monotonic() - self._since > self.service.settings.drain_s
        if self.cut_off:
            self.service.stop()
        return self.cut_off


def serve(
    models: Models,
    settings: Settings,
    *,
    host: str,
    port: int,
    digest: str,
) -> None:
    """Answer requests until a signal comes.

    Args:
        models: what to score with.
        settings: limits.
        host: where to listen.
        port: where to listen; 0 for any that is free.
        digest: of the models.

    Raises:
        UserError: the port is taken, or the model does not load.
        Stopped: it was cut off while requests were waiting.
    """
    screen = console()
    key = _key(os.environ.get(KEY))
    began = time.monotonic()
    failure: list[BaseException] = []

    def failed(error: BaseException) -> None:
        failure.append(error)
        server.should_exit = True

    service = Service(
        models.load,
        read_rubric(models.paths[0]),
        name="+".join(map(served_name, models.paths)),
        digest=digest,
        settings=settings,
        key=key,
        on_failed=failed,
        on_ready=lambda: screen.print(f"ready after {time.monotonic() - began:.1f} s"),
    )
    _allow_connections()
    listening = _listen(host, port)
    config = uvicorn.Config(
        create_app(service),
        log_config=None,
        log_level="error",
        access_log=False,
        http=BoundedConnection,
        lifespan="off",
        ws="none",
        server_header=False,
        proxy_headers=False,
        # Longer than clients keep a connection, so that none is closed under a request.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=5,
    )
    shown = f"[{host}]" if ":" in host else host
    address = f"http://{shown}:{listening.getsockname()[1]}"

    def announce() -> None:
        screen.print(f"{service.name} ({digest}) at {address}", markup=False)
        if key is None and host not in {"127.0.0.1", "localhost", "::1"}:
            screen.print(f"anyone who reaches this port can use it: set {KEY} to ask for a key")

    server = Server(config, service, announce)
    server.run([listening])
    service.stop()
    if failure:
        raise _words(failure[0], models.paths)
    if not service.batcher.join(2.0):
        # The model is at work in its thread: an orderly exit would wait for it, or crash in it.
        sys.stderr.flush()
        os._exit(3 if server.cut_off else 0)
    if server.cut_off:
        raise Stopped("requests that were waiting got no score")


def _key(said: str | None) -> str | None:
    """The key as clients can send it: in a header, where there is ASCII and no space around it.

    >>> _key(" s3cret\\n")
    's3cret'

    Raises:
        UserError: no client could send it.
    """
    key = checked_key(said, KEY)
    if said is not None and key is None:
        raise UserError(f"an empty {KEY}", expected="a key", mend="set one, or unset it")
    return key


def _allow_connections() -> None:
    """As many open connections as the system lets us have: some clients open one a request."""
    if sys.platform != "win32":  # which has no such limit
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        if soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _words(error: BaseException, paths: Sequence[Path]) -> UserError:
    if isinstance(error, UserError):
        return error
    return UserError(
        f"a model that does not load ({type(error).__name__}: {first_line(Exception(str(error)))})",
        path=paths[0] if len(paths) == 1 else None,
    )


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UserError(
            f"no way to listen on {host} port {port} ({error.strerror or error})",
            expected="an address of this machine and a free port",
            mend="choose another with --host or --port",
        ) from None
