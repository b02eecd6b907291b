"""The native engine against the embedded one: prompt and generation speed, as ratios.

    python benchmarks/bench_engine.py [--native PATH/TO/llama-server] [--rounds 5]

Both serve the same file: a llama of 12 layers, 2048 wide, Q4_K (its weights are zeros, which cost
the same work), and are asked in turns, so that a busy machine slows both. The native engine is the
one that ``lais engine build`` made, unless ``--native`` names another. Bar: none; measured once in
2026, 1.6 (prompt) and 1.17 (generation) on a machine with AVX-512.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from fit_models import transformer
from local_ai_suite.engine.find import EMBEDDED_MODULE, built_engine
from local_ai_suite.engine.running import free_port
from local_ai_suite.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED_WITHIN = 120.0
ANSWERED_WITHIN = 300.0
CONTEXT = 1024


def main() -> int:
    options = _options()
    native = Path(options.native) if options.native else built_engine(find_paths())
    if not native.is_file():
        print(f"{native} is not there: run `lais engine build` first", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="bench-engine-") as folder:
        model = transformer(
            "llama", layers=12, width=2048, heads=16, heads_kv=4, feed_forward=5632,
            keys={"rope.dimension_count": 128}, weight_type="Q4_K",
        ).write(Path(folder) / "bench.gguf")  # fmt: skip
        print(f"llama, 12 layers, 2048 wide, Q4_K: {model.stat().st_size / 2**20:.0f} MiB")
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores; load average before: {load:.1f}")
        if load > (os.cpu_count() or 1) / 2:
            print("note: this machine is busy; take the ratios, not the numbers")
        embedded = [sys.executable, "-m", EMBEDDED_MODULE]
        with _engine([str(native)], model) as ours, _engine(embedded, model) as wheel:
            _compare(ours, wheel, options)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--native", help="a llama-server to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--prompt", type=int, default=256, help="tokens")
    parser.add_argument("--generate", type=int, default=32, help="tokens")
    return parser.parse_args()


def _compare(ours: httpx.Client, wheel: httpx.Client, options: argparse.Namespace) -> None:
    rates: dict[str, list[tuple[float, float]]] = {"native": [], "embedded": []}
    for number in range(options.rounds + 1):
        for name, client in (("native", ours), ("embedded", wheel)):
            rate = _ask(client, number, options.prompt, options.generate)
            if number:  # the first round warms up
                rates[name].append(rate)
    print(f"{'':10} {'prompt tokens/s':>16} {'generated tokens/s':>20}")
    middle = {
        name: tuple(statistics.median(column) for column in zip(*found, strict=True))
        for name, found in rates.items()
    }
    for name, (prompt, generated) in middle.items():
        print(f"{name:10} {prompt:16.1f} {generated:20.1f}")
    ratios = [
        statistics.median(a[part] / b[part] for a, b in zip(*rates.values(), strict=True))
        for part in (0, 1)
    ]
    print(f"{'ratio':10} {ratios[0]:16.2f} {ratios[1]:20.2f}   (median of {options.rounds} pairs)")


def _ask(client: httpx.Client, number: int, prompt: int, generate: int) -> tuple[float, float]:
    """Tokens per second of one prompt and one generation, as the engine itself counts them."""
    tokens = [1000 + (number * 7919 + place * 31) % 20_000 for place in range(prompt)]
    body = {"prompt": tokens, "n_predict": generate, "ignore_eos": True, "cache_prompt": False}
    answer = client.post("/completion", json=body)
    answer.raise_for_status()
    timings: dict[str, Any] = answer.json()["timings"]
    return timings["prompt_per_second"], timings["predicted_per_second"]


@contextlib.contextmanager
def _engine(command: list[str], model: Path) -> Iterator[httpx.Client]:
    port, key = free_port(), secrets.token_hex(8)
    words = [
        *command, "--model", str(model), "--port", str(port), "--ctx-size", str(CONTEXT),
        "--parallel", "1", "--fit", "off", "--no-webui", "--n-gpu-layers", "0",
        "--threads", str(max(1, (os.cpu_count() or 2) // 2)),
    ]  # fmt: skip
    process = subprocess.Popen(
        words, env={**os.environ, "LLAMA_API_KEY": key},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {key}"},
        timeout=ANSWERED_WITHIN, trust_env=False,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with {process.returncode}")
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health").status_code == 200:
                    break
            time.sleep(0.1)
        yield client
    finally:
        client.close()
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
