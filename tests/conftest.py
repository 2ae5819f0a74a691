"""Paths and small parts that several test modules share."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# Workers are as many as cores: two threads in each would wait for one another.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# What runs in the background of a script has Ctrl-C ignored, and so have the processes it starts:
# tests that interrupt them need it as a terminal gives it.
in_main_thread = threading.current_thread() is threading.main_thread()
if in_main_thread and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
# Cores are shared with whatever else runs: a slow example is no failure.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

ROOT = Path(__file__).resolve().parent.parent
collect_ignore = ["helpers/verl_run.py"]
"""Runs in an environment of its own: its imports are not installed here."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported to collect the tests stays, and looking through it for garbage took a fifth
    of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with the most slow tests first: the last one to run is then a short one."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whoever runs the tests keeps their own cache as it is."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _libraries_are_no_garbage() -> Iterator[None]:
    """Every training ends with a full collection, which took longer than the training of a tiny
    model: what was imported to collect the tests is left out of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real data sets outside the project; tests that need it are skipped without it."""
    folder = Path(os.environ.get("REWARD_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "finreport_pairs_0to4.jsonl").exists():
        pytest.skip(f"no real data sets in {folder}; set REWARD_TEST_DATA to their folder")
    return folder
