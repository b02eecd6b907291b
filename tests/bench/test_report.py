"""The performance report: what was measured, against the specification."""

from __future__ import annotations

import pytest

from local_ai_suite.bench import Measured, as_text, criteria
from local_ai_suite.bench.report import percentile

GOOD = Measured(
    model="local-chat",
    first_answer_s=2.0,
    later_answers_s=(0.5, 0.7),
    failed=0,
    ttft_s=(0.1, 0.2),
    tpot_s=(0.01, 0.02),
    idle_cpu_percent=1.0,
    gpu_memory_bytes=4 * 1024**3,
)


def verdicts(measured: Measured) -> dict[str, bool | None]:
    return {line.name: line.met for line in criteria(measured)}


def test_a_good_run_meets_every_criterion() -> None:
    judged = [met for met in verdicts(GOOD).values() if met is not None]
    assert judged == [True] * 5
    assert "MISSED" not in as_text(GOOD)


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"first_answer_s": 31.0}, "first answer"),
        ({"later_answers_s": (1.0, 5.5)}, "later answers, slowest"),
        ({"failed": 1}, "consecutive requests"),
        ({"gpu_memory_bytes": 7 * 1024**3}, "graphics memory"),
        ({"idle_cpu_percent": 80.0}, "CPU while idle"),
    ],
)
def test_each_criterion_can_be_missed(change: dict[str, object], name: str) -> None:
    from dataclasses import replace

    missed = verdicts(replace(GOOD, **change))
    assert [key for key, met in missed.items() if met is False] == [name]


def test_what_could_not_be_measured_is_not_judged() -> None:
    bare = Measured("local-chat", 1.0, (), 0)
    assert verdicts(bare)["graphics memory"] is None
    assert verdicts(bare)["CPU while idle"] is None
    assert "no GPU" in as_text(bare)


def test_percentiles_are_nearest_rank() -> None:
    values = tuple(float(n) for n in range(1, 11))
    assert percentile(values, 0.5) == 5.0
    assert percentile(values, 0.9) == 9.0
    assert percentile((), 0.5) is None
