"""``lais bench``: how fast the running stack is here, against the criteria of phase 1."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from local_ai_suite import bench, hardware
from local_ai_suite.cli.output import json_option, show
from local_ai_suite.client import client_for
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings
from local_ai_suite.stack import runtime


def gpu_memory_in_use() -> int | None:
    """Bytes in use on all GPUs; ``None`` without one, or where it does not tell."""
    gpus = hardware.detect().gpus
    pairs = [(gpu.total_bytes, gpu.free_bytes) for gpu in gpus]
    known = [total - free for total, free in pairs if total is not None and free is not None]
    return sum(known) if known else None


@click.command()
@click.option("--model", default="local-chat", show_default=True)
@click.option("-n", "--requests", type=click.IntRange(1, 1000), default=10, show_default=True)
@json_option
def bench_command(model: str, requests: int, as_json: bool) -> int:
    """Measure the running stack: first and later answers, TTFT, tokens/s, CPU, graphics memory.

    The first answer includes loading the model if it was not loaded. Reported, never judged by
    the exit code: other programs share this machine.
    """
    paths = find_paths()
    settings = load_settings(paths)
    with (
        client_for(settings) as client,
        click.progressbar(
            length=requests + 1, label="asking", file=sys.stderr, hidden=not sys.stderr.isatty()
        ) as bar,
    ):
        measured = bench.measure(
            client,
            model,
            requests=requests,
            processes=runtime.processes(paths),
            gpu_memory=gpu_memory_in_use,
            report=lambda _done, _all: bar.update(1),
        )
    data = {
        **asdict(measured),
        "criteria": [asdict(criterion) for criterion in bench.criteria(measured)],
    }
    return show(Result("bench", bench.as_text(measured), data), as_json=as_json)
