# ruff: noqa: E402 (the folders come onto the path first)
"""The gateway of this checkout against that of another one, both running, measured in turns.

``python benchmarks/gateway/before.py CHECKOUT [--rounds N]``. ``CHECKOUT`` has a .venv of its own
(``make env-dev`` there). Processor time is each gateway's own, so that what else runs on the
machine counts little; the ratios are of pairs, one after the other, and their order changes each
round.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import sys
import tempfile
from pathlib import Path

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parents[1] / "tests")]

import measure
import servers

WIDTH, REQUESTS, STREAMS = 8, 1500, 32


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path)
    parser.add_argument("--rounds", type=int, default=12)
    options = parser.parse_args()
    python = options.checkout / ".venv" / "bin" / "python"
    if not python.is_file():
        parser.error(f"{python} is not there; run `make env-dev` in that checkout")
    costs: dict[str, dict[str, list[float]]] = {}

    def note(what: str, which: str, cost: float) -> None:
        costs.setdefault(what, {}).setdefault(which, []).append(cost)

    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        fast = servers.compiled(folder)
        upstream = stack.enter_context(servers.fast_upstream(fast))
        both = {
            "before": stack.enter_context(
                servers.gateway("before", str(python), folder / "before", upstream)
            ),
            "now": stack.enter_context(servers.relay(folder / "now", upstream)),
        }
        for server in both.values():
            measure.load(server, fast, folder, WIDTH, REQUESTS)  # warm
        for number in range(options.rounds):
            order = list(both) if number % 2 else list(reversed(both))
            for which in order:
                server = both[which]
                for stream in (False, True):
                    begun = server.cpu()
                    count = STREAMS if stream else REQUESTS
                    said = measure.load(server, fast, folder, WIDTH, count, stream=stream)
                    done = said["events"] if stream else said["done"]
                    of, one = ("stream", "chunk") if stream else ("request", "request")
                    note(f"us of CPU a {one}", which, (server.cpu() - begun) / done * 1e6)
                    note(f"ms for a {of} (p50)", which, said["whole"]["p50"] / 1e6)
        _print(costs)
    return 0


def _print(costs: dict[str, dict[str, list[float]]]) -> None:
    for what, found in costs.items():
        ratios = sorted(now / old for old, now in zip(found["before"], found["now"], strict=True))
        print(
            f"{what:24} before {statistics.median(found['before']):8.2f}, now "
            f"{statistics.median(found['now']):8.2f}; ratio of pairs: median "
            f"{statistics.median(ratios):.3f}, {ratios[0]:.2f} to {ratios[-1]:.2f}"
        )


if __name__ == "__main__":
    sys.exit(main())
