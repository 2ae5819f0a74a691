"""Files that other programs read of the project: citation, issue forms, licence."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
import yaml

import reward_model

ROOT = Path(__file__).parents[2]


def test_the_citation_is_of_this_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert cited["title"] == project["name"]
    assert cited["version"] == reward_model.__version__
    assert cited["license"] == project["license"] == "MIT"
    assert cited["abstract"] == project["description"]
    assert {"cff-version", "message", "authors"} <= set(cited)
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License\n")


@pytest.mark.parametrize("name", ["bug", "wish"])
def test_issue_forms(name: str) -> None:
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text("utf-8"))
    assert form["name"]
    assert form["description"]
    ids = [part["id"] for part in form["body"]]
    assert len(set(ids)) == len(ids)
    for part in form["body"]:
        assert part["type"] in {"markdown", "textarea", "input", "dropdown", "checkboxes"}
        assert part["attributes"]["label"]
