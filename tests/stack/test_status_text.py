"""What `lais status` prints of a stack: the lines that a person must not miss."""

from __future__ import annotations

from typing import Any

from local_ai_suite.stack.status import ServiceReport, StackReport, as_text


def status_of(**meta: Any) -> str:
    model = {"id": "local-chat", "meta": {"status": "ready", "file": "/m/a.gguf", **meta}}
    service = ServiceReport("inference", "ready", 8001, 7, 61.0, 2**20, 0, "")
    return as_text(StackReport("native", "p1", "http://localhost:8000", 61.0, (service,), (model,)))


def row(text: str) -> list[str]:
    return text.splitlines()[-1].split()


def test_a_misfit_and_a_death_have_lines_of_their_own() -> None:
    told = status_of(
        deviations=["everything landed on the CPU, planned were 29 layers on the GPU"],
        last_death="it was killed by SIGKILL",
    )
    assert "  local-chat: not as planned: everything landed on the CPU, planned were 29" in told
    assert "  local-chat: its engine died (it was killed by SIGKILL) and was started again" in told


def test_three_names_of_one_model_warn_once() -> None:
    meta = {"name": "local-chat", "deviations": ["9.0 tokens/s"], "last_death": "it crashed"}
    models = tuple({"id": name, "meta": meta} for name in ("local-chat", "local-code", "demo"))
    other = {"id": "local-embed", "meta": {**meta, "name": "local-embed"}}
    report = StackReport("native", "p1", "http://localhost", 1.0, (), (*models, other))
    told = as_text(report)
    assert told.count("not as planned") == told.count("its engine died") == 2
    assert "local-chat: not as planned: 9.0 tokens/s" in told
    assert "local-embed: not as planned" in told


def test_a_model_as_planned_has_neither() -> None:
    told = status_of(n_ctx=4096, deviations=[], last_death=None)
    assert "not as planned" not in told
    assert "died" not in told


def test_speed_is_told_as_generated_of_expected_as_far_as_both_are_known() -> None:
    def told(expected: float | None, measured: float | None) -> list[str]:
        return row(status_of(tokens_per_second={"expected": expected, "measured": measured}))[3:-1]

    assert told(40.0, 35.24) == ["35.2", "of", "40"]
    assert told(40.0, None) == ["40", "expected"]
    assert told(None, 35.24) == ["35.2"]
    assert told(None, None) == ["-"]
    assert row(status_of())[3:-1] == ["-"]


def test_what_the_engine_service_warns_of_is_told_and_a_base_model_too() -> None:
    told = as_text(
        StackReport(
            "native", "p1", "http://localhost:8000", 61.0,
            (ServiceReport("inference", "ready", 8001, 7, 61.0, 2**20, 0, ""),),
            ({"id": "local-chat", "meta": {"name": "a", "warnings": ["it is a base model"]}},
             {"id": "local-code", "meta": {"name": "a", "warnings": ["it is a base model"]}}),
            warnings=("RTX 4050 is not used: the engine found has no GPU support",),
        )
    )  # fmt: skip
    assert "  RTX 4050 is not used: the engine found has no GPU support" in told
    assert told.count("it is a base model") == 1
    assert "  local-chat: it is a base model" in told


def test_a_service_that_is_stuck_says_why() -> None:
    stuck = ServiceReport("inference", "stuck", 8001, 7, 61.0, 2**20, 1, "it does not answer")
    stack = StackReport("native", "p1", "http://localhost:8000", 61.0, (stuck,), ())
    assert not stack.healthy
    assert "  inference: it does not answer" in as_text(stack)
