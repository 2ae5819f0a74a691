"""The page at / in a real browser: what it shows of a score, and that a report stays text."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browsing import CHROMIUM, Tab, browser
from page_text import english_left, language_of
from serving import Running, in_thread
from tiny_models import save_encoder

from reward_model.score.scorer import RewardScorer
from reward_model.score.serve.page import EXAMPLES
from reward_model.score.serve.settings import Settings

pytest.importorskip("aiohttp")
ATTACK = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
CONTRAST = """((mark) => {
  const channels = (colour) => {
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return colour.startsWith("color(") ? [255 * r, 255 * g, 255 * b, a] : [r, g, b, a];
  };
  const light = (colour) => colour.slice(0, 3).reduce((sum, c, i) => {
    return sum + [0.2126, 0.7152, 0.0722][i] * (c / 255) ** 2.2;
  }, 0);
  const own = channels(getComputedStyle(mark).backgroundColor);
  const under = channels(getComputedStyle(mark.closest(".text")).backgroundColor);
  const back = own.slice(0, 3).map((c, i) => own[3] * c + (1 - own[3]) * under[i]);
  const [a, b] = [light(channels(getComputedStyle(mark).color)), light(back)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
})"""
"""Of a passage's letters against its shade, 1 to 21; 4.5 is what can be read with ease."""
PHONE = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A model that reads evidence and little else."""
    folder = save_encoder(
        tmp_path_factory.mktemp("page") / "best", evidence="checks", max_input_length=512
    )
    with in_thread(RewardScorer.from_pretrained(folder, device="cpu")) as (running, _):
        yield running


def test_the_page_brings_its_policy(served: Running) -> None:
    said = served.ask("/")
    policy = said.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "http://" not in said.body.split("<body")[1]


def test_the_page_speaks_chinese_where_asked(tmp_path: Path) -> None:
    scorer = RewardScorer.from_pretrained(save_encoder(tmp_path / "best"), device="cpu")
    with in_thread(scorer, Settings(page_language="zh")) as (running, _):
        page = running.ask("/").body
    assert language_of(page) == "zh"
    assert not english_left(page, "stand-in", "JavaScript")
    assert "被评判的文本" in page
    reasons = json.loads(re.search(r'"reasons":(\[\[.*?\]\])', page)[1])
    assert all(re.search("[一-鿿]", said) for _, said in reasons)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_a_report_is_scored_and_shown(served: Running, tmp_path: Path) -> None:
    asyncio.run(_use(served, tmp_path))


async def _use(served: Running, folder: Path) -> None:
    async with browser(folder / "profile") as tab:
        await tab.open(f"{served.url}/")
        for language, titles in (("en", "Depth"), ("zh", "深度")):
            await tab.run(f"document.querySelector('[data-example={language}]').click()")
            shown = await _score(tab)
            prompt, response = EXAMPLES[language]
            own = served.ask("/v1/score", {"prompt": prompt, "response": response})
            score = own.body["scores"][0]
            assert f"{score['reward']:.3f}" in shown
            assert titles.lower() in shown.lower()
            for name, level in score["levels"].items():
                assert f"{level:.2f} ± {score['uncertainty'][name]:.2f}" in shown
            heights = await tab.run(
                "[...document.querySelectorAll('.bar')].map((bar) => bar.style.height)"
            )
            expected = [f"{100 * p:.1f}%" for ps in score["probabilities"].values() for p in ps]
            assert [float(h[:-1]) for h in heights] == [
                pytest.approx(float(e[:-1]), abs=0.11) for e in expected
            ]
            assert "verified" in shown
            assert "wrong" not in await tab.run("document.getElementById('claims').innerText")
        await _sentences(tab, served)
        wrong = EXAMPLES["en"][1].replace("20.0%", "25.0%")
        shown = await _score(tab, EXAMPLES["en"][0], wrong)
        assert "1 wrong" in shown
        assert "tables give 20.0%" in shown
        shown = await _score(tab, "", f"{ATTACK} {'long ' * 500}")
        assert "its middle was not judged" in shown
        assert await tab.run("document.title") != "run"
        assert "the response is empty" in await _score(tab, "a", " ")
        await tab.run("document.getElementById('risk').value = 1")
        await _score(tab, *EXAMPLES["en"])
        await _looks(tab, folder)
        bad = [words for words in tab.said if "favicon" not in words]
        assert not bad
        assert all(url.startswith(served.url) or url == "about:blank" for url in tab.loaded)


async def _score(tab: Tab, prompt: str | None = None, response: str | None = None) -> Any:
    """Press the button; what the page then says."""
    for name, text in (("prompt", prompt), ("response", response)):
        if text is not None:
            await tab.run(f"document.getElementById('{name}').value = {json.dumps(text)}")
    await tab.run("document.getElementById('go').click()")
    await tab.until("!document.getElementById('go').disabled")
    assert "scored in" in await tab.run("document.getElementById('status').innerText")
    return await tab.run("document.getElementById('result').innerText")


async def _sentences(tab: Tab, served: Running) -> None:
    """Every sentence is a mark in the text, shaded by what it does to the dimension chosen."""
    assert not await tab.run("document.querySelector('.passage:not(.full)')?.checkVisibility()")
    await tab.run("document.getElementById('why').click()")
    await tab.until("!document.getElementById('go').disabled")
    prompt, response = EXAMPLES["zh"]
    said = served.ask("/v1/score", {"prompt": prompt, "response": response, "sentences": True})
    (score,) = said.body["scores"]
    found = score["sentences"]
    assert len(found["passages"]) == len(re.findall("[；。]", response))
    marks = "[...document.querySelectorAll('.text .passage')]"
    assert await tab.run(f"{marks}.map((m) => m.innerText)") == [
        one["text"] for one in found["passages"]
    ]
    for name in ("reward", "accuracy"):
        await tab.run(
            "{ const s = document.querySelector('.passages-bar select');"
            f" s.value = '{name}'; s.dispatchEvent(new Event('change')); }}"
        )
        effects = [
            p["reward"] if name == "reward" else p["levels"][name] for p in found["passages"]
        ]
        shown = await tab.run(f"{marks}.map((m) => m.title.split(' ').pop().replace('−', '-'))")
        assert [float(one) for one in shown] == [pytest.approx(e, abs=0.0011) for e in effects]
        strongest = max(range(len(effects)), key=lambda i: abs(effects[i]))
        kind = "up" if effects[strongest] > 0 else "down"
        assert kind in await tab.run(f"{marks}[{strongest}].className")
    dark = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    await tab.do("Emulation.setEmulatedMedia", **dark)
    assert await tab.run(f"Math.min(...{marks}.map({CONTRAST}))") > 4.5
    await tab.do("Emulation.setEmulatedMedia", features=[])
    assert "need not add up" in await tab.run("document.getElementById('passages').innerText")


async def _looks(tab: Tab, folder: Path) -> None:
    """Nothing sticks out of a phone; dark where dark is asked for."""
    await tab.do("Emulation.setEmulatedMedia", media="print")
    report = "document.getElementById('response')"
    await tab.run(f"{report}.value = 'line\\n'.repeat(40)")
    assert await tab.run(f"{report}.scrollHeight <= {report}.clientHeight + 1"), "cut on paper"
    assert not await tab.run("document.querySelector('.row').checkVisibility()")
    await tab.do("Emulation.setEmulatedMedia", media="")
    colours = []
    for scheme in ("light", "dark"):
        await tab.do(
            "Emulation.setEmulatedMedia",
            features=[{"name": "prefers-color-scheme", "value": scheme}],
        )
        colours.append(await tab.run("getComputedStyle(document.body).backgroundColor"))
        for name, metrics in (("desk", PHONE | {"width": 1200, "mobile": False}), ("phone", PHONE)):
            await tab.do("Emulation.setDeviceMetricsOverride", **metrics)
            widest = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            assert await tab.run(widest) <= 0, f"{name} scrolls sideways"
            await tab.screenshot(folder / f"{scheme}-{name}.png")
    assert len(set(colours)) == 2
