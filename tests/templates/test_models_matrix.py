"""What the page of real templates says is what the engine shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import template_matrix
from families import SAMPLE

import real_templates

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from template_engine import TemplateEngine

    RealEngine = Callable[[str], AbstractContextManager[TemplateEngine]]


def test_the_page_is_made_of_the_table() -> None:
    assert template_matrix.PAGE.read_text(encoding="utf-8") == template_matrix.render()


@pytest.mark.parametrize("name", SAMPLE)
def test_a_row_is_what_the_template_shows(name: str, real_engine: RealEngine) -> None:
    with real_engine(name) as engine:
        assert engine.abilities().as_dict() == template_matrix.known()["templates"][name]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_row_is_what_the_template_shows(real_engine: RealEngine) -> None:
    table = template_matrix.known()["templates"]
    assert sorted(table) == real_templates.names()
    for name, row in table.items():
        with real_engine(name) as engine:
            assert engine.abilities().as_dict() == row, name
