"""The native engine against the embedded one: prompt and generation speed, as ratios.

    python benchmarks/bench_engine.py [--native PATH/TO/llama-server] [--rounds 5]

Both serve the same file: a llama of 12 layers, 2048 wide, Q4_K (its weights are zeros, which cost
the same work), and are asked in turns, so that a busy machine slows both. The native engine is the
one that ``lais engine build`` made (or a ``llama-server`` on PATH), unless ``--native`` names
another. What each makes of the processor is read off its own log; what the plan expects of it, from
the memory's speed, stands below. Bar: none; measured once in 2026, 1.6 (prompt), 1.17 (generation).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from fit_models import transformer
from local_ai_suite.engine.bandwidth import MOST_THREADS
from local_ai_suite.engine.command import VERBOSITY
from local_ai_suite.engine.llama_server import free_port
from local_ai_suite.engine.readback import cpu_features
from local_ai_suite.engines.find import EMBEDDED_MODULE, built_engine
from local_ai_suite.fit import FitRequest, plan
from local_ai_suite.gguf import read_gguf
from local_ai_suite.hardware import detect, measure_memory_speed
from local_ai_suite.paths import find_paths

if TYPE_CHECKING:
    from collections.abc import Iterator

STARTED_WITHIN = 120.0
ANSWERED_WITHIN = 300.0
CONTEXT = 1024


def main() -> int:
    options = _options()
    native = options.native or native_engine()
    if native is None or not Path(native).is_file():
        print(
            f"nothing was measured: {native or 'a native engine'} is not there.\n"
            "Run `.venv/bin/lais engine build` (some eight minutes), then this again, or name one: "
            "python benchmarks/bench_engine.py --native PATH/TO/llama-server",
            file=sys.stderr,
        )
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
        logs = {name: Path(folder) / f"{name}.log" for name in ("native", "embedded")}
        with (
            serving([str(native)], model, logs["native"]) as ours,
            serving(embedded, model, logs["embedded"]) as wheel,
        ):
            _compare(ours, wheel, options)
        for name, log in logs.items():
            print(f"{name:10} uses {_features(log)}")
        print(f"the plan expects {_expected(model)} generated tokens/s of this machine's memory")
    return 0


def native_engine() -> str | None:
    """The engine that ``lais engine build`` made, else ``llama-server`` on PATH."""
    built = built_engine(find_paths())
    return str(built) if built.is_file() else shutil.which("llama-server")


def _features(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    found = next((names for line in lines if (names := cpu_features(line))), ())
    return " ".join(found) or "what its log does not tell"


def _expected(model: Path) -> str:
    machine = detect()
    speed = measure_memory_speed(min(MOST_THREADS, machine.cpu_threads or 1))
    request = FitRequest(
        model=read_gguf(model), hardware=machine, n_gpu_layers=0, ctx_size=CONTEXT,
        memory_speed=speed,
    )  # fmt: skip
    expected = plan(request).tokens_per_second
    if expected is None or speed is None:
        return "no known number of"
    return f"{expected:.1f} (at {speed / 1e9:.1f} GB/s)"


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
            rate = ask(client, number, options.prompt, options.generate)
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


def ask(client: httpx.Client, number: int, prompt: int, generate: int) -> tuple[float, float]:
    """Tokens per second of one prompt and one generation, as the engine itself counts them."""
    tokens = [1000 + (number * 7919 + place * 31) % 2_000 for place in range(prompt)]
    body = {"prompt": tokens, "n_predict": generate, "ignore_eos": True, "cache_prompt": False}
    answer = client.post("/completion", json=body)
    answer.raise_for_status()
    timings: dict[str, Any] = answer.json()["timings"]
    return timings["prompt_per_second"], timings["predicted_per_second"]


@contextlib.contextmanager
def serving(
    command: list[str], model: Path, log: Path, environment: dict[str, str] | None = None
) -> Iterator[httpx.Client]:
    """A client of ``command`` as it serves ``model`` with one thread per core."""
    port, key = free_port(), secrets.token_hex(8)
    words = [
        *command, "--model", str(model), "--port", str(port), "--ctx-size", str(CONTEXT),
        "--parallel", "1", "--fit", "off", "--no-webui", "--n-gpu-layers", "0",
        "--threads", str(detect().cpu_threads or 1), "--verbosity", str(VERBOSITY),
    ]  # fmt: skip
    with log.open("wb") as output:
        process = subprocess.Popen(
            words,
            env={**os.environ, **(environment or {}), "LLAMA_API_KEY": key},
            stdout=output,
            stderr=output,
        )
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
