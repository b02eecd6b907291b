"""Measure the running stack over HTTP, as a client sees it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import psutil

from local_ai_suite.bench.report import Measured
from local_ai_suite.errors import NetworkError, RequestRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from local_ai_suite.client import Client

# Different beginnings, so that no answer comes out of the prompt cache alone.
QUESTIONS = (
    "What port does the gateway use?",
    "Name three things that a local model is good for.",
    "How do I stop the services?",
    "Write one sentence about memory.",
    "What does GGUF stand for?",
)
MAX_TOKENS = 64
# Long enough for the kernel's accounting (10 ms ticks) to mean something.
IDLE_SAMPLE_S = 2.0


def measure(
    client: Client,
    model: str,
    *,
    requests: int = 10,
    processes: Sequence[psutil.Process] = (),
    gpu_memory: Callable[[], int | None] = lambda: None,
    report: Callable[[int, int], None] = lambda _done, _all: None,
    clock: Callable[[], float] = time.perf_counter,
) -> Measured:
    """Ask ``model`` once, rest, then ask ``requests`` times in a row; temperature 0.

    ``processes`` are the stack's, for its CPU use (percent of all cores). ``gpu_memory`` tells the
    bytes in use on the GPU. ``report(done, all)`` is called after each request. Raises what the
    client raises when the first request fails; a later failure is counted.
    """
    began = clock()
    _ask(client, model, QUESTIONS[0], clock)
    first = clock() - began
    report(1, requests + 1)
    idle = _Cpu(processes)
    time.sleep(IDLE_SAMPLE_S)
    idle_percent = idle.percent()
    later, ttft, tpot, failed = [], [], [], 0
    prompt_rate = answer_rate = None
    load = _Cpu(processes)
    gpu_peak = gpu_memory()
    for number in range(requests):
        question = QUESTIONS[number % len(QUESTIONS)]
        try:
            whole, to_first, tokens, rates = _ask(client, model, f"{number}. {question}", clock)
        except (NetworkError, RequestRefused):
            failed += 1
            continue
        later.append(whole)
        ttft.append(to_first)
        if tokens > 1:
            tpot.append((whole - to_first) / (tokens - 1))
        prompt_rate, answer_rate = rates
        gpu_peak = max(filter(None, (gpu_peak, gpu_memory())), default=None)
        report(number + 2, requests + 1)
    return Measured(
        model=model,
        first_answer_s=first,
        later_answers_s=tuple(later),
        failed=failed,
        ttft_s=tuple(ttft),
        tpot_s=tuple(tpot),
        prompt_tokens_per_s=prompt_rate,
        answer_tokens_per_s=answer_rate,
        idle_cpu_percent=idle_percent,
        load_cpu_percent=load.percent(),
        gpu_memory_bytes=gpu_peak,
    )


def _ask(
    client: Client, model: str, question: str, clock: Callable[[], float]
) -> tuple[float, float, int, tuple[float | None, float | None]]:
    """Seconds in all, seconds to the first text, tokens, and the engine's own rates."""
    began, first = clock(), None
    messages = [{"role": "user", "content": question}]
    with client.stream_chat(
        messages, model=model, max_tokens=MAX_TOKENS, temperature=0.0
    ) as stream:
        for _ in stream:
            first = first or clock()
        answer = stream.answer
    ended = clock()
    rates = (answer.timings.prompt_per_second, answer.timings.predicted_per_second)
    return ended - began, (first or ended) - began, answer.usage.completion_tokens or 0, rates


class _Cpu:
    """CPU time of the stack's processes since now, as percent of all cores."""

    def __init__(self, processes: Sequence[psutil.Process]) -> None:
        self._processes = list(processes)
        self._began, self._used = time.monotonic(), self._seconds()

    def percent(self) -> float | None:
        if not self._processes:
            return None
        passed = time.monotonic() - self._began
        return 100 * (self._seconds() - self._used) / passed / (psutil.cpu_count() or 1)

    def _seconds(self) -> float:
        total = 0.0
        for process in self._processes:
            try:
                times = process.cpu_times()
                total += times.user + times.system
            except psutil.Error:
                continue
        return total
