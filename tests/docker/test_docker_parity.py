"""A request is answered in Docker as it is natively."""

from __future__ import annotations

from collections.abc import Iterator

import parity
import pytest

from stack_project import Project

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Project]]:
    with parity.both(tmp_path_factory.mktemp("parity")) as projects:
        yield projects


@pytest.mark.parametrize("request_", parity.REQUESTS, ids=lambda it: it.name)
def test_it_is_answered_the_same(stacks: tuple[Project, Project], request_: parity.Request) -> None:
    native, docker = (parity.ask(project, request_) for project in stacks)
    assert parity.difference(native, docker) == ""


def test_a_difference_would_be_seen(stacks: tuple[Project, Project]) -> None:
    models, missing = (
        parity.ask(stacks[0], parity.Request("x", "GET", path)) for path in ("/v1/models", "/nope")
    )
    assert "status" in parity.difference(models, missing)
    changed = parity.Answer(models.status, {**models.headers, "x-more": "1"}, models.body, 0.0)
    assert parity.difference(models, changed) == "headers: x-more"
    changed = parity.Answer(models.status, models.headers, {**models.body, "data": []}, 0.0)
    assert "body.data" in parity.difference(models, changed)
