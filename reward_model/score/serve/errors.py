"""What a client is told when a request cannot be answered: a status, a kind, one sentence."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import Response


class ApiError(Exception):
    """An answer that is no result: `{"error": {"message", "type", "param", "code"}}`.

    The keys are those of OpenAI and vLLM; the kinds are ours.

    Args:
        status: of HTTP.
        kind: one word for programs, such as `no_opinion`.
        message: one sentence for people; never a text of a report.
        item: which text of the request it is about, from 0.
        param: which part of the body it is about.
        retry_after: seconds after which to ask again.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        message: str,
        *,
        item: int | None = None,
        param: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message
        self.item, self.param, self.retry_after = item, param or None, retry_after

    def response(self) -> Response:
        """As it is sent."""
        headers = {} if self.retry_after is None else {"retry-after": str(self.retry_after)}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        error = error_words(self.message, self.kind, self.status, self.param)
        if self.item is not None:
            error["item"] = self.item
        return json_response({"error": error}, self.status, headers)


def error_words(message: str, kind: str, status: int, param: str | None = None) -> dict[str, Any]:
    """What stands under `error`."""
    return {"message": message, "type": kind, "param": param, "code": status}


class ClientGone(Exception):  # noqa: N818 - nobody is left to be told
    """The client hung up before its answer."""


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON with readable Chinese; a number that is none cannot get out."""
    body = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Response(body.encode(), status, headers, "application/json")
