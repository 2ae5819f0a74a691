"""The address of a server, as people write it.

`read_address("localhost:8000")` gives the URL, and apart from it the key that may stand in one.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from reward_model.records import UserError

_BARE = re.compile(
    r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?):\d{1,5}(?:/\S*)?"
)
"""A host with its port and no scheme."""
EXPECTED = "http://HOST:PORT of reward-model serve"


class Address(NamedTuple):
    """Where a server is."""

    url: str
    """Without a key: it may be shown, logged and stored."""
    key: str | None = None


def is_address(model: str) -> bool:
    """A server's address, not a folder.

    >>> is_address("http://localhost:8000"), is_address("outputs/multidim/best")
    (True, False)
    >>> is_address("localhost:8000"), is_address("best")
    (True, False)
    """
    said = model.strip()
    return said.lower().startswith(("http://", "https://")) or bool(_BARE.fullmatch(said))


def read_address(text: str) -> Address:
    """A URL without a slash at its end, and the key that was written into it: as the password in
    ``http://any:KEY@HOST``.

    >>> read_address(" localhost:8000/ ")
    Address(url='http://localhost:8000', key=None)
    >>> read_address("https://any:s%40cret@rewards.example")
    Address(url='https://rewards.example', key='s@cret')

    Raises:
        UserError: it is none; what stands before an `@` in it is never shown.
    """
    if not isinstance(text, str):
        raise UserError(f"{text!r} as an address", expected=EXPECTED)
    said = text.strip()
    if _BARE.fullmatch(said):
        said = f"http://{said}"
    shown = repr(re.sub(r"//[^/@]*@", "//...@", said))
    if any(c.isspace() or not c.isprintable() for c in said):
        raise UserError(f"address {shown} with a space in it", expected=EXPECTED)
    try:
        parts = urlsplit(said)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise UserError(f"address {shown}", expected=EXPECTED) from None
    if parts.scheme not in ("http", "https") or not host:
        raise UserError(f"address {shown}", expected=EXPECTED)
    if parts.query or parts.fragment or "?" in said or "#" in said:
        raise UserError(
            f"address {shown} with more than host, port and path",
            expected=EXPECTED,
            mend="set REWARD_MODEL_KEY to the server's key, if it is one",
        )
    key = unquote(parts.password or parts.username or "") or None
    named = f"[{host}]" if ":" in host else host
    where = f"{named}:{port}" if port is not None else named
    return Address(f"{parts.scheme}://{where}{parts.path.rstrip('/')}", key)
