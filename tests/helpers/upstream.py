"""Other projects' own code, to try ours against it: wheels unpacked without what they depend on.

`unpacked("verl", folder)` gives a folder to put on PYTHONPATH; `python upstream.py NAME DIR`
does the same from a script. Tests are skipped where no registry can be reached.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PINS: dict[str, list[str]] = {
    "trl-oldest": ["trl==1.13.0"],
    "trl-ppo": ["trl==1.12.0"],
    "openrlhf": ["openrlhf==0.11.2"],
    "rewardbench": ["rewardbench==0.1.4"],
    # With the few packages that its reward managers import and this project does not have.
    "verl": [
        "verl==0.9.1",
        "codetiming",
        "omegaconf",
        "orjson",
        "pyvers",
        "tensordict==0.10.0",
    ],
}
"""The versions that contracts are proven against; the newest TRL is the installed one."""

# As it was before tests turned caches elsewhere: uv keeps what it has downloaded.
_ENVIRONMENT = dict(os.environ)


def unpacked(name: str, folder: Path) -> Path:
    """Unpack the wheels of a pin into a folder.

    Raises:
        LookupError: there is no uv, or no registry.
    """
    if not shutil.which("uv"):
        raise LookupError("no uv to fetch wheels with")
    command = ["uv", "pip", "install", "--quiet", "--no-deps", "--python", sys.executable]
    done = subprocess.run(
        [*command, "--target", str(folder), *PINS[name]],
        capture_output=True,
        text=True,
        env=_ENVIRONMENT,
        timeout=300,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise LookupError(f"{', '.join(PINS[name])} cannot be fetched: {last.strip()}")
    return folder


if __name__ == "__main__":
    unpacked(sys.argv[1], Path(sys.argv[2]))
