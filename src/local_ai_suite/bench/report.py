"""What was measured, and how it stands against the specification. Pure.

The criteria are the specification's of phase 1: first answer under 30 s, later ones under 5 s,
consecutive requests handled, graphics memory under 6 GB, CPU under 70 % while idle. They are
reported, never asserted: a busy machine is no defect of the suite.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from local_ai_suite.messages import say
from local_ai_suite.messages.width import ljust

FIRST_ANSWER_S = 30.0
LATER_ANSWER_S = 5.0
GPU_MEMORY_BYTES = 6 * 1024**3
IDLE_CPU_PERCENT = 70.0
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Measured:
    """Seconds, bytes and percent of all cores; ``None`` where it could not be measured.

    ``ttft`` are the seconds to the first token of each answer after the first request, ``tpot`` the
    seconds per further token.
    """

    model: str
    first_answer_s: float
    later_answers_s: tuple[float, ...]
    failed: int
    ttft_s: tuple[float, ...] = ()
    tpot_s: tuple[float, ...] = ()
    prompt_tokens_per_s: float | None = None
    answer_tokens_per_s: float | None = None
    idle_cpu_percent: float | None = None
    load_cpu_percent: float | None = None
    gpu_memory_bytes: int | None = None
    notes: tuple[str, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class Criterion:
    """One line of the report; ``met`` is ``None`` for what was not or need not be judged."""

    name: str
    measured: str
    wanted: str
    met: bool | None


def percentile(values: tuple[float, ...], share: float) -> float | None:
    """The nearest-rank percentile (``share`` from 0 to 1); ``None`` of nothing."""
    if not values:
        return None
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * int(share * 100) // 100))
    return ordered[min(rank, len(ordered)) - 1]


def criteria(measured: Measured) -> tuple[Criterion, ...]:
    """The specification's criteria first, then what has no bar."""
    slowest = max(measured.later_answers_s, default=None)
    handled = len(measured.later_answers_s)
    gpu = measured.gpu_memory_bytes
    idle = measured.idle_cpu_percent
    return (
        Criterion(
            say("first answer"),
            say("{seconds:.2f} s", seconds=measured.first_answer_s),
            say("under {seconds:.0f} s", seconds=FIRST_ANSWER_S),
            measured.first_answer_s < FIRST_ANSWER_S,
        ),
        Criterion(
            say("later answers, slowest"),
            "-" if slowest is None else say("{seconds:.2f} s", seconds=slowest),
            say("under {seconds:.0f} s", seconds=LATER_ANSWER_S),
            None if slowest is None else slowest < LATER_ANSWER_S,
        ),
        Criterion(
            say("consecutive requests"),
            say("{count} of {all} answered", count=handled, all=handled + measured.failed),
            say("all"),
            measured.failed == 0,
        ),
        Criterion(
            say("graphics memory"),
            say("no GPU") if gpu is None else say("{size} MiB", size=gpu // MIB),
            say("under {size} MiB", size=GPU_MEMORY_BYTES // MIB),
            None if gpu is None else gpu < GPU_MEMORY_BYTES,
        ),
        Criterion(
            say("CPU while idle"),
            "-" if idle is None else f"{idle:.1f} %",
            say("under {percent:.0f} %", percent=IDLE_CPU_PERCENT),
            None if idle is None else idle < IDLE_CPU_PERCENT,
        ),
        Criterion(say("CPU under load"), _percent(measured.load_cpu_percent), "", None),
        Criterion(say("TTFT p50 / p90"), _pair_ms(measured.ttft_s), "", None),
        Criterion(say("TPOT p50 / p90"), _pair_ms(measured.tpot_s), "", None),
        Criterion(say("prompt (pp)"), _rate(measured.prompt_tokens_per_s), "", None),
        Criterion(say("answer (tg)"), _rate(measured.answer_tokens_per_s), "", None),
    )


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} %"


def _rate(value: float | None) -> str:
    return "-" if value is None else say("{rate:.1f} tokens/s", rate=value)


def _pair_ms(values: tuple[float, ...]) -> str:
    p50, p90 = percentile(values, 0.5), percentile(values, 0.9)
    return "-" if p50 is None or p90 is None else f"{p50 * 1e3:.1f} / {p90 * 1e3:.1f} ms"


def as_text(measured: Measured) -> str:
    """The report as a table."""
    verdicts = {True: say("met"), False: say("MISSED"), None: ""}
    lines = [say("{model} on this machine", model=measured.model), ""]
    lines += [
        f"  {ljust(line.name, 24)} {ljust(line.measured, 24)} {ljust(line.wanted, 16)} "
        f"{verdicts[line.met]}".rstrip()
        for line in criteria(measured)
    ]
    return "\n".join([*lines, *(say("  note: {note}", note=note) for note in measured.notes)])
