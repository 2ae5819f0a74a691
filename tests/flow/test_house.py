"""The rooms as docs/house.md tells them: no circle of imports, no crowded folder, no long file."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import grimp
import networkx
from conftest import ROOT

PACKAGES = ("reward_model", "judge", "datagen")
CROWDED = {"checks", "llm"}
"""Rooms of many small files: one a kind of wording, one a part of a call."""


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def test_no_two_files_import_each_other() -> None:
    """Imports inside functions and for types alone count as well."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    edges = networkx.DiGraph(
        (module, other)
        for module in graph.modules
        for other in graph.find_modules_directly_imported_by(module)
    )
    circles = [sorted(c) for c in networkx.strongly_connected_components(edges) if len(c) > 1]
    for circle in circles:
        print("circle:", *circle)  # noqa: T201
    assert circles == []


def test_a_folder_and_a_file_can_be_taken_in() -> None:
    folders: dict[Path, int] = {}
    lengths = {}
    for path in sources():
        lengths[path] = len(path.read_text("utf-8").splitlines())
        if path.name not in ("__init__.py", "__main__.py"):
            folders[path.parent] = folders.get(path.parent, 0) + 1
    assert {f: n for f, n in folders.items() if n > 16 and f.name not in CROWDED} == {}
    assert {f: n for f, n in lengths.items() if n > 400} == {}
    assert median(lengths.values()) < 150


def test_the_page_names_every_room() -> None:
    page = (ROOT / "docs" / "house.md").read_text("utf-8")
    rooms = [f.parent.name for f in (ROOT / "reward_model").glob("*/__init__.py")]
    assert [room for room in rooms if f"| `{room}/` |" not in page] == []


def test_tables_for_people_are_made_at_the_door() -> None:
    made = [path for path in sources() if "rich.table" in path.read_text("utf-8")]
    hub = [path.relative_to(ROOT) for path in made if (ROOT / "reward_model") in path.parents]
    doors = {Path("reward_model/cli"), Path("reward_model/records")}
    assert [path for path in hub if path.parent not in doors] == []
