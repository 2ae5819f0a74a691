"""What OpenRLHF makes of our rewards, told by its own code; run by test_rlhf_openrlhf.py.

`python openrlhf_run.py WHEEL SAMPLES.json ENDPOINT` prints what its executor gives for each
sample. The executor's two modules are loaded alone: the rest of the package wants vLLM.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any


def executor(wheel: Path) -> type[Any]:
    """OpenRLHF's single-turn executor, from its unpacked wheel."""
    for name in ("openrlhf", "openrlhf.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(wheel / name.replace(".", "/"))]
        sys.modules[name] = package
    found: type[Any] = importlib.import_module("openrlhf.utils.agent").SingleTurnAgentExecutor
    return found


def plain(value: Any) -> Any:
    """One sample's numbers, as its sample generator takes them out of tensors and lists."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    return value.flatten()[0].item() if hasattr(value, "flatten") else value[0]


async def rewarded(wheel: Path, samples: list[dict[str, str]], endpoint: str) -> list[Any]:
    """Rewards of all samples at once, one a request, as rollouts ask for them."""
    agent = executor(wheel)([endpoint])
    fetch = agent._fetch_rewards_via_func if agent.reward_func else agent._fetch_rewards_via_http
    asked = [fetch([s["query"]], [s["prompt"]], [""]) for s in samples]
    return [plain(one) for (one,) in await asyncio.gather(*asked)]


if __name__ == "__main__":
    samples = json.loads(Path(sys.argv[2]).read_text())
    answer = asyncio.run(rewarded(Path(sys.argv[1]), samples, sys.argv[3]))
    sys.stdout.write("\n" + json.dumps(answer) + "\n")
