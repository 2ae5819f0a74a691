"""A page in headless Chromium, asked and used over its own debugging protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-sync "
    "--disable-background-networking --disable-component-update --remote-debugging-port=0"
)


class Tab:
    """One page."""

    def __init__(self, socket: Any) -> None:
        self._socket, self._number = socket, 0
        self.said: list[str] = []
        """What the page logged: errors, and what its policy kept from loading."""
        self.loaded: list[str] = []
        """Addresses it asked for."""

    async def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command, and its result."""
        self._number += 1
        sent = {"id": self._number, "method": method, "params": parameters}
        await self._socket.send_json(sent)
        async for message in self._socket:
            said = json.loads(message.data)
            if said.get("id") == self._number:
                assert "error" not in said, said
                result: dict[str, Any] = said["result"]
                return result
            self._note(said)
        raise AssertionError("the browser went away")

    def _note(self, said: dict[str, Any]) -> None:
        if said["method"] == "Log.entryAdded":
            self.said.append(said["params"]["entry"]["text"])
        elif said["method"] == "Runtime.exceptionThrown":
            self.said.append(json.dumps(said["params"]["exceptionDetails"]))
        elif said["method"] == "Network.requestWillBeSent":
            self.loaded.append(said["params"]["request"]["url"])

    async def run(self, script: str) -> Any:
        """What a script in the page gives; a promise is waited for."""
        said = await self.do(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said
        return said["result"].get("value")

    async def until(self, script: str, seconds: float = 20) -> None:
        """Wait until a script gives something true."""
        async with asyncio.timeout(seconds):
            while not await self.run(script):
                await asyncio.sleep(0.05)

    async def open(self, url: str) -> None:
        """Go there and wait for it."""
        await self.do("Page.navigate", url=url)
        await self.until(f"document.readyState === 'complete' && location.href === '{url}'")

    async def screenshot(self, path: Path) -> None:
        """The page as it looks."""
        said = await self.do("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(said["data"]))


@contextlib.asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Tab]:
    """A fresh browser with one tab."""
    import aiohttp

    assert CHROMIUM
    process = subprocess.Popen(
        [CHROMIUM, *FLAGS.split(), f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        port = profile / "DevToolsActivePort"
        async with asyncio.timeout(60):
            while not (port.exists() and "\n" in port.read_text()):
                await asyncio.sleep(0.05)
        home = f"http://127.0.0.1:{port.read_text().split()[0]}"
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{home}/json/list") as answer:
                pages = [page for page in await answer.json() if page["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as link:
                tab = Tab(link)
                for domain in ("Page", "Runtime", "Log", "Network"):
                    await tab.do(f"{domain}.enable")
                yield tab
    finally:
        process.kill()
        process.wait()
