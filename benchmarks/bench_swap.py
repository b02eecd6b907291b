"""What a swap costs the next turn of a conversation: with its slots kept, and without.

    python benchmarks/bench_swap.py [--engine PATH/TO/llama-server] [--rounds 3]

A llama of 12 layers, 2048 wide, Q4_K, with a prompt of some 500 tokens. Printed: seconds to the
answer of the next turn while the model stays loaded, after a swap with the slots saved and
restored, and after one without; and the tokens that were read again.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench_engine import native_engine
from fit_models import transformer
from local_ai_suite.engine.llama_server import free_port

STARTED_WITHIN = 60.0
ANSWERED_WITHIN = 600.0
WORDS = 480


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--engine", help="a llama-server; else the built one, else the embedded")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    options.engine = options.engine or native_engine()
    print(f"engine: {options.engine or 'the embedded one'}")
    with tempfile.TemporaryDirectory(prefix="bench-swap-") as name:
        project = Path(name)
        (project / "models").mkdir()
        transformer(
            "llama", layers=12, width=2048, heads=16, heads_kv=4, feed_forward=5632,
            keys={"rope.dimension_count": 128}, weight_type="Q4_K",
        ).write(project / "models" / "talk.gguf")  # fmt: skip
        load = os.getloadavg()[0]
        print(f"{os.cpu_count()} cores; load average before: {load:.1f}")
        if load > (os.cpu_count() or 1) / 2:
            print("note: this machine is busy; take the ratios, not the numbers")
        with _service(project, options.engine) as client:
            _measure(client, project, options.rounds)
    return 0


def _measure(client: httpx.Client, project: Path, rounds: int) -> None:
    found: dict[str, list[tuple[float, int]]] = {"stays": [], "kept": [], "lost": []}
    stored = 0
    for number in range(rounds):
        for how, times in found.items():
            history = [1000 + number * 997 + len(how) * 61 + place * 7 for place in range(WORDS)]
            _turn(client, history)
            if how != "stays":
                client.post("/models/unload", json={"model": "talk"}).raise_for_status()
                slots = project / ".state" / "slots"
                stored = max(stored, sum(f.stat().st_size for f in slots.rglob("*.bin*")))
                if how == "lost":
                    shutil.rmtree(slots, ignore_errors=True)
                client.post("/models/load", json={"model": "talk"}).raise_for_status()
            times.append(_turn(client, [*history, 42, 43, 44]))
    words = {"stays": "no swap", "kept": "swap, slots kept", "lost": "swap, slots lost"}
    middle = {how: statistics.median(t for t, _ in times) for how, times in found.items()}
    for how, times in found.items():
        print(f"  {words[how]:18} {middle[how]:8.2f} s   {times[-1][1]:4} tokens read again")
    print(f"  kept instead of lost: {middle['lost'] / middle['kept']:.1f} times as fast")
    print(f"  on the disk meanwhile: {stored / 2**20:.1f} MiB for {WORDS} tokens")


def _turn(client: httpx.Client, tokens: list[int]) -> tuple[float, int]:
    """Seconds of one answer of four tokens, and the prompt's tokens that were worked on."""
    body = {"model": "talk", "prompt": tokens, "n_predict": 4, "ignore_eos": True}
    began = time.perf_counter()
    answer = client.post("/completion", json=body)
    answer.raise_for_status()
    timings: dict[str, Any] = answer.json()["timings"]
    return time.perf_counter() - began, timings["prompt_n"]


@contextlib.contextmanager
def _service(project: Path, engine: str | None) -> Any:
    port = free_port()
    env = {
        **os.environ, "LAIS_PROJECT": str(project), "INFERENCE_PORT": str(port),
        "CTX_SIZE": "2048", "PARALLEL": "1", "CHAT_MODEL": "talk.gguf",
        **({"LLAMA_SERVER": engine} if engine else {}),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-m", "local_ai_suite.engine.server"], env=env,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{port}", timeout=ANSWERED_WITHIN, trust_env=False
    )
    try:
        deadline = time.monotonic() + STARTED_WITHIN
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health").status_code == 200:
                    break
            time.sleep(0.1)
        yield client
    finally:
        client.close()
        process.terminate()
        process.wait()


if __name__ == "__main__":
    sys.exit(main())
