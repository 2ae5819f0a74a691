"""One connection under uvicorn, whose request line and headers are bounded in size and in time."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD = 65_536
"""Bytes of a request line with its headers: what other servers allow at most."""
_UPGRADE = re.compile(rb"\r\nupgrade:[^\r\n]*", re.I)
HEAD_S = 60.0
"""Seconds for them to arrive."""


class BoundedConnection(HttpToolsProtocol):
    """Closes a connection whose headers are too long (431) or do not come to an end."""

    _head = 0
    _reading_head = True
    _refused = False
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """A client is there, and has to say something."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request; what is no body counts."""
        if self._reading_head:
            self._head += len(data)
            data = _without_upgrade(data)
        super().data_received(data)
        if self._reading_head and self._head > MOST_HEAD:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._wait()

    def on_headers_complete(self) -> None:
        """What follows is its body, which the service bounds."""
        self._reading_head = False
        self._stop_waiting()
        if len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers) > MOST_HEAD:
            self._refuse_head()
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Some of the body; that of a request that was refused goes nowhere."""
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The whole of a request; the next one may follow."""
        self._reading_head, self._head = True, 0
        if not self._refused:
            super().on_message_complete()

    def _refuse_head(self) -> None:
        self._refused = True
        self._stop_waiting()
        self.transport.write(
            b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
            b"content-length: 0\r\nconnection: close\r\n\r\n"
        )
        self.transport.close()

    def _wait(self) -> None:
        self._stop_waiting()
        self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _without_upgrade(data: bytes) -> bytes:
    """A head that asks for no other protocol: there is none here, and the request stands as it is
    (RFC 9110, 7.8), while the parser would take its body for the other protocol's.

    >>> _without_upgrade(b"POST / HTTP/1.1\\r\\nUpgrade: h2c\\r\\nA: b\\r\\n\\r\\n{}")
    b'POST / HTTP/1.1\\r\\nA: b\\r\\n\\r\\n{}'
    """
    if not _UPGRADE.search(data):
        return data
    head, end, body = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"", head) + end + body
