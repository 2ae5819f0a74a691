"""The Dockerfile, without Docker: what it copies is there, what it runs is understood, and its
health check asks the route that answers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main
from serving import StandIn, in_thread

from reward_model.cli.commands import app

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def lines() -> list[tuple[str, str]]:
    """Instructions and what follows them, with continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text("utf-8"))
    said = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in said]


def _last(lines: list[tuple[str, str]], name: str) -> str:
    return [rest for word, rest in lines if word == name][-1]


def test_what_is_copied_is_there_and_nothing_else_is_sent(lines: list[tuple[str, str]]) -> None:
    sent = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for word, rest in lines
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == sent
    assert all((ROOT / name).exists() for name in copied)
    # Whatever the wheel is made of is among it.
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*wheel["packages"], *wheel["force-include"]} <= copied
    installs = next(rest for word, rest in lines if word == "RUN" and "'.[" in rest)
    extras = re.search(r"'\.\[(.+)\]'", installs)[1].split(",")
    assert set(extras) <= set(project["project"]["optional-dependencies"])


@pytest.mark.parametrize(("device", "flag"), [("cpu", "--torch-backend=cpu"), ("cuda", "")])
def test_both_variants(lines: list[tuple[str, str]], device: str, flag: str) -> None:
    script = next(rest for word, rest in lines if word == "RUN" and "case" in rest)
    script = script.split("&&")[0] + '; echo "[$torch]"'
    done = subprocess.run(
        ["sh", "-c", script], env={"DEVICE": device}, capture_output=True, text=True
    )
    assert done.stdout == f"[{flag}]\n"
    wrong = subprocess.run(
        ["sh", "-c", script], env={"DEVICE": "tpu"}, capture_output=True, text=True
    )
    assert wrong.returncode == 2
    assert "expected cpu or cuda" in wrong.stderr


def test_the_command_is_understood_and_runs_as_nobody(lines: list[tuple[str, str]]) -> None:
    words = [*json.loads(_last(lines, "ENTRYPOINT")), *json.loads(_last(lines, "CMD"))]
    assert words[:2] == ["reward-model", "serve"]
    group = typer.main.get_command(app)
    command = group.commands["serve"]  # type: ignore[attr-defined]
    flags = command.make_context("serve", words[2:]).params
    assert (flags["host"], str(flags["port"])) == ("0.0.0.0", _last(lines, "EXPOSE"))
    assert int(_last(lines, "USER")) > 0


def test_the_health_check(lines: list[tuple[str, str]]) -> None:
    check = json.loads(_last(lines, "HEALTHCHECK").split("CMD", 1)[1])
    port = _last(lines, "EXPOSE")
    assert f"127.0.0.1:{port}/" in check[-1]

    def ask(where: int) -> int:
        command = [sys.executable, *check[1:-1], check[-1].replace(port, str(where))]
        return subprocess.run(command, capture_output=True).returncode

    with in_thread(StandIn()) as (running, _):
        assert ask(running.port) == 0
    assert ask(running.port) != 0
