# ruff: noqa: E402 (the folders come onto the path first)
"""The gateway against going direct, LiteLLM's proxy and Portkey's gateway, all in one run.

``python benchmarks/bench_gateway.py [--targets relay,litellm,portkey] [--quick] [--json FILE]
[--write]``. Over a fixed fast upstream in C (so that no engine hides the gateway), then over the
real engine. Machines are noisy and nothing is asserted: what carries over are the ratios, and what
is counted per second of the gateway's own processor time. ``gateway/before.py`` holds this gateway
against that of another checkout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
DOCS = FOLDER.parent / "docs" / "reference"
sys.path[:0] = [str(FOLDER / "gateway"), str(FOLDER.parent / "tests")]

import measure
import plot
import servers

MORE_STARTS = {"relay": 4, "portkey": 4}
"""How often each is started again for the best start; LiteLLM takes ten seconds a time."""

BARS = """Bars for the relay (quiet machine): added p50 0.3 ms and p99 1 ms for one client; 40 times
LiteLLM's requests per second at 8 and 32; 20,000 streamed chunks per second per core; ready in
0.3 s; 50 MB at start and no growth over 10,000 requests; a slot free within 100 ms."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default="relay,litellm,portkey")
    parser.add_argument("--quick", action="store_true", help="a tenth of the requests")
    parser.add_argument("--json", type=Path, help="write everything here, too")
    parser.add_argument("--write", action="store_true", help="docs/reference/bench-gateway.*")
    options = parser.parse_args()
    if unknown := set(options.targets.split(",")) - set(servers.STARTERS):
        parser.error(f"no target {', '.join(unknown)}; there are: {', '.join(servers.STARTERS)}")
    load = os.getloadavg()[0]
    scale = 0.1 if options.quick else 1.0
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fast = servers.compiled(folder)
        with servers.fast_upstream(fast) as upstream:
            for target in options.targets.split(","):
                print(f"{target} ...", file=sys.stderr, flush=True)
                with servers.STARTERS[target](folder, upstream) as server:
                    found[target] = measure.everything(server, upstream, fast, folder, scale)
                for _ in range(MORE_STARTS.get(target, 0)):
                    with servers.STARTERS[target](folder, upstream) as server:
                        found[target]["ready"] = min(found[target]["ready"], server.ready)
        if "relay" in found:
            print("real engine ...", file=sys.stderr, flush=True)
            found["real engine"] = measure.over_the_real_engine(fast, folder, scale)
    print(table(found))
    print(BARS)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1), encoding="utf-8")
    if options.write:
        loads = (load, os.getloadavg()[0])
        (DOCS / "bench-gateway.svg").write_text(plot.svg(found), encoding="utf-8")
        (DOCS / "bench-gateway.md").write_text(page(table(found), loads), encoding="utf-8")
    return 0


def table(found: dict[str, dict[str, Any]]) -> str:
    """What was measured, as text; added latencies are over going direct."""
    names = [name for name in found if name != "real engine"]
    rows: list[tuple[str, list[str]]] = []
    for width in measure.WIDTHS:
        for part in measure.PARTS:
            added = [f"{found[n]['requests'][width]['added'][part]:.2f}" for n in names]
            rows.append((f"added {part}, {width} at once (ms)", added))
    for width in measure.WIDTHS:
        rates = [found[n]["requests"][width]["per_second"] for n in names]
        rows.append((f"requests/s, {width} at once", [f"{rate:,.0f}" for rate in rates]))
    rows += [
        ("requests/s per core", [f"{found[n]['requests_per_core']:,.0f}" for n in names]),
        ("streamed chunks/s per core", [_rate(found[n]["chunks_per_core"]) for n in names]),
        ("chunks/s of 6,400, 32 streams", [_rate(found[n]["chunks_per_second"]) for n in names]),
        (
            "first chunk p50, 32 streams (ms)",
            [_ms(found[n]["first_chunk"] or -1) for n in names],
        ),
        ("exec to first answer (s)", [f"{found[n]['ready']:.2f}" for n in names]),
        ("memory at start (MB)", [f"{found[n]['memory'][0]:.0f}" for n in names]),
        (
            "memory after so many requests (MB)",
            [f"{found[n]['memory'][1]:.0f} ({found[n]['memory_after']:,})" for n in names],
        ),
        ("hang-up to free, streamed (ms)", [_ms(found[n]["hang_up"]["streamed"]) for n in names]),
        ("hang-up to free, whole (ms)", [_ms(found[n]["hang_up"]["whole"]) for n in names]),
    ]
    lines = [f"{'':36}" + "".join(f"{name:>16}" for name in names)]
    lines += [f"{title:36}" + "".join(f"{cell:>16}" for cell in cells) for title, cells in rows]
    if {"relay", "litellm"} <= set(found):
        relay, litellm = found["relay"], found["litellm"]
        ratios = [
            f"{relay['requests'][w]['per_second'] / litellm['requests'][w]['per_second']:.0f}"
            for w in measure.WIDTHS
        ]
        per_core = relay["requests_per_core"] / litellm["requests_per_core"]
        chunks = relay["chunks_per_core"] / litellm["chunks_per_core"]
        lines.append("")
        lines.append(f"relay / LiteLLM: requests/s {' / '.join(ratios)} times at 1 / 8 / 32,")
        lines.append(
            f"                 per core {per_core:.0f} times, chunks per core {chunks:.0f}"
        )
    if growth := found.get("relay", {}).get("growth"):
        steps = ", ".join(f"{size:.2f}" for size in growth)
        lines.append(f"the relay's own memory (MB), warm and after each 10,000 requests: {steps}")
    if engine := found.get("real engine"):
        parts = [f"{part} {engine['added'][part]:+.2f}" for part in measure.PARTS]
        lines.append(f"over the real engine, one client, added ms: {', '.join(parts)}")
    return "\n".join(lines)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value else "fails"


def _ms(value: float | None) -> str:
    if value is None:
        return "never"
    return "fails" if value < 0 else f"{value:.1f}"


def page(text: str, loads: tuple[float, float]) -> str:
    """docs/reference/bench-gateway.md."""
    cores = os.cpu_count()
    return f"""# The gateway, measured

Made by `python benchmarks/bench_gateway.py --write`; all numbers are of one run on one machine
({cores} cores, load average {loads[0]:.1f} at its start and {loads[1]:.1f} at its end), so it is
the ratios that carry over. Rates per core are counted per second of the gateway's own processor
time. Portkey's gateway is `@portkey-ai/gateway` from npm; "fails" is an answer that was not 200.

![Bars: added latency, requests and chunks per core, start, memory](bench-gateway.svg)

```
{text}

{BARS}
```
"""


if __name__ == "__main__":
    sys.exit(main())
