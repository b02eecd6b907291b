"""Every check against every target: the outcome is the one in differences.toml."""

from __future__ import annotations

import matrix
import pytest
from checks import CHECKS, Check

_MINUTES = 300


@pytest.mark.parametrize("check", CHECKS, ids=matrix.key)
def test_the_engine_itself_answers_as_the_table_says(
    check: Check, direct: matrix.targets.Target
) -> None:
    assert check.outcome(direct) == matrix.expected(check, "direct")


@pytest.mark.parametrize("check", CHECKS, ids=matrix.key)
def test_the_relay_answers_as_the_table_says(check: Check, relay: matrix.targets.Target) -> None:
    assert check.outcome(relay) == matrix.expected(check, "relay")


# LiteLLM takes 11 ms of processor a request and seconds to start: the slow tier's.
@pytest.mark.slow
@pytest.mark.timeout(_MINUTES)
@pytest.mark.parametrize("check", CHECKS, ids=matrix.key)
def test_litellm_answers_as_the_table_says(check: Check, litellm: matrix.targets.Target) -> None:
    assert check.outcome(litellm) == matrix.expected(check, "litellm")


def test_the_table_names_only_checks_that_are_there() -> None:
    assert set(matrix.differences()) <= {matrix.key(check) for check in CHECKS}


def test_the_page_says_what_the_table_says() -> None:
    assert matrix.PAGE.read_text(encoding="utf-8") == matrix.render(), (
        "run: python tests/conformance/matrix.py --js --write"
    )
