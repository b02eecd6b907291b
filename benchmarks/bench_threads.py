"""How long the engine's threads spin while they wait for each other: OpenMP's way against ours.

    python benchmarks/bench_threads.py [--rounds 3]

llama.cpp's threads meet some hundred times a token. A thread that spins at the meeting holds its
core against the one that is waited for, as soon as other programs use the cores too. All ways serve
the same file in turns: on the machine as it is, beside one busy process per core, and with one core
held by a program of higher priority (needs the right to that). The demo model has little to do
between two meetings, the 12 layers of ``bench_engine.py`` more. ``LLAMA_SERVER`` names another
engine than the embedded one.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench_engine import ask, serving
from fit_models import transformer
from local_ai_suite.demo import demo_model_path
from local_ai_suite.engine.command import SPIN_COUNT
from local_ai_suite.engines.find import EMBEDDED_MODULE

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

WAYS: dict[str, dict[str, str]] = {
    "OpenMP's way": {},
    "ours": {"GOMP_SPINCOUNT": SPIN_COUNT},
    "at once to sleep": {"OMP_WAIT_POLICY": "passive"},
}
HIGHER = ["nice", "-n", "-15"]
# Tokens of prompt and answer: a few seconds of work each, where a core is there for each thread.
SIZES = {"demo": (64, 32), "12 layers": (128, 16)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    native = os.environ.get("LLAMA_SERVER")
    command = [native] if native else [sys.executable, "-m", EMBEDDED_MODULE]
    demo = demo_model_path()
    assert demo is not None
    print(f"{os.cpu_count()} cores; load average before: {os.getloadavg()[0]:.1f}")
    print(f"{'':46} {'prompt tokens/s':>16} {'generated tokens/s':>20}")
    with tempfile.TemporaryDirectory(prefix="bench-threads-") as name:
        folder = Path(name)
        large = transformer(
            "llama", layers=12, width=2048, heads=16, heads_kv=4, feed_forward=5632,
            keys={"rope.dimension_count": 128}, weight_type="Q4_K",
        ).write(folder / "bench.gguf")  # fmt: skip
        for title, model in (("demo", demo), ("12 layers", large)):
            with contextlib.ExitStack() as stack:
                clients = {
                    way: stack.enter_context(
                        serving(command, model, folder / f"{title}-{way}.log", environment)
                    )
                    for way, environment in WAYS.items()
                }
                cores = os.cpu_count() or 1
                _measure(f"{title}, alone", SIZES[title], clients, rounds)
                with _busy(cores):
                    beside = f"{title}, beside {cores} busy"
                    _measure(beside, SIZES[title], clients, rounds)
                if subprocess.run([*HIGHER, "true"], capture_output=True, check=False).stderr:
                    print("one core held: not measured, a higher priority is not allowed here")
                    continue
                with _busy(1, HIGHER):
                    _measure(f"{title}, one core held", SIZES[title], clients, rounds)
    return 0


def _measure(
    title: str, size: tuple[int, int], clients: dict[str, httpx.Client], rounds: int
) -> None:
    rates: dict[str, list[tuple[float, float]]] = {way: [] for way in clients}
    for number in range(rounds):
        for way, client in clients.items():
            rates[way].append(ask(client, number, *size))
    for way, found in rates.items():
        first, second = (statistics.median(column) for column in zip(*found, strict=True))
        print(f"{title + ': ' + way:46} {first:16.1f} {second:20.1f}", flush=True)


@contextlib.contextmanager
def _busy(count: int, before: list[str] | None = None) -> Iterator[None]:
    spin = [*(before or []), sys.executable, "-c", "while True: pass"]
    others = [subprocess.Popen(spin) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


if __name__ == "__main__":
    sys.exit(main())
