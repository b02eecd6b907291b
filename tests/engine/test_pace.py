"""A speed is held against the plan only where it was measured in quiet, three times."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from local_ai_suite.engine.pace import Counters, Pace, Speed
from local_ai_suite.engine.readback import generated, too_slow
from local_ai_suite.hardware import busy_seconds, cpu_seconds

START = Counters(0.0, 0, 0.0, 0.0, 0.0)


def sampled(
    *samples: tuple[float, float], expected: float | None = 40.0, at_once: int = 1
) -> Speed:
    """The speed after ``samples`` of (tokens per second, cores of others), each 10 s long.

    The engine itself uses one core for all of that time.
    """
    pace, now = Pace(START), START
    for speed, others in samples:
        pace.busiest = at_once
        now = Counters(
            now.at + 10,
            now.tokens + 100,
            now.seconds + 100 / speed,
            (now.own_cpu or 0) + 10,
            (now.all_cpu or 0) + 10 + 10 * others,
        )
        assert pace.look(now)
    found = pace.speed(expected)
    assert found is not None
    return found


def test_three_quiet_samples_far_under_the_plan_are_told() -> None:
    slow = sampled((9, 0), (8, 0.1), (7, 0))
    assert (slow.measured, slow.samples) == (9, 3)
    told = too_slow(slow)
    assert told is not None
    assert told.message == "9.0 tokens/s generated at best, projected were 40.0"
    assert not told.failure


def test_one_or_two_samples_say_nothing_yet() -> None:
    assert too_slow(sampled((1, 0))) is None
    assert too_slow(sampled((1, 0), (1, 0))) is None


def test_the_best_of_the_last_three_counts() -> None:
    assert too_slow(sampled((9, 0), (35, 0), (9, 0))) is None
    later = sampled((35, 0), (9, 0), (9, 0), (9, 0))
    assert (later.measured, later.is_slow) == (9, True)


def test_what_is_generated_beside_other_load_is_shown_and_never_held_against_the_plan() -> None:
    beside_programs = sampled(*[(1, 1.5)] * 5)
    assert (beside_programs.measured, beside_programs.samples) == (1, 0)
    beside_requests = sampled(*[(1, 0)] * 5, at_once=2)
    assert beside_requests.samples == 0
    assert too_slow(beside_programs) is too_slow(beside_requests) is None
    assert sampled((1, 2), (9, 0), (1, 2)).measured == pytest.approx(9), "the quiet one is shown"


def test_where_the_load_or_the_plan_is_unknown_nothing_is_held_against_it() -> None:
    pace = Pace(Counters(0.0, 0, 0.0))
    for number in range(1, 6):
        assert pace.look(Counters(10.0 * number, 100 * number, 100.0 * number, None, 5.0))
    assert pace.speed(40.0) == Speed(40.0, 1.0, 0)
    assert too_slow(sampled((1, 0), (1, 0), (1, 0), expected=None)) is None


def test_a_few_tokens_are_no_sample_and_wait_for_more() -> None:
    pace = Pace(START)
    assert not pace.look(Counters(1, 31, 1, 1, 1))
    assert pace.speed(40.0) is None
    assert pace.look(Counters(2, 32, 2, 2, 2))
    assert pace.speed(40.0) == Speed(40.0, 16.0, 1)


def test_the_counters_are_read_as_llama_server_writes_them() -> None:
    text = (
        "# TYPE llamacpp:tokens_predicted_total counter\n"
        "llamacpp:tokens_predicted_total {}\nllamacpp:tokens_predicted_seconds_total 2.5\n"
    )
    assert generated(text.format(100)) == (100, 2.5)
    assert generated(text.format("1e+02")) == (100, 2.5)
    assert generated("") is None


def test_another_program_at_work_is_seen_in_the_processors_time() -> None:
    busy, own = busy_seconds(), cpu_seconds(os.getpid())
    assert busy is not None
    assert own is not None
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as program:
        try:
            before = Counters(time.monotonic(), 0, 0, own, busy)
            end = time.monotonic() + 20
            while (used := cpu_seconds(program.pid) or 0) < 0.5 and time.monotonic() < end:
                time.sleep(0.05)
            after = Counters(time.monotonic(), 0, 0, cpu_seconds(os.getpid()), busy_seconds())
        finally:
            program.kill()
    others = after.cores_of_others(before)
    assert others is not None
    assert others * (after.at - before.at) >= 0.5 * used
    assert cpu_seconds(program.pid) is None, "it is gone"
