"""Every history, in every protocol, streamed and whole, on real templates, through both services.

What must hold: the answer is there, or a 400 in the caller's envelope says what the model cannot
do; never a 500, and never a trace of the template's own language.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cells import Cell, ask, suite
from families import SAMPLE
from histories import HISTORIES
from spoken import PROTOCOLS

import real_templates

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    import httpx


@pytest.fixture
def served(
    sources: Path, tmp_path: Path
) -> Callable[[list[str]], AbstractContextManager[httpx.Client]]:
    return lambda names: suite(tmp_path, names)


@pytest.mark.parametrize("name", SAMPLE)
def test_a_family_takes_every_history_in_every_protocol(
    name: str, served: Callable[[list[str]], AbstractContextManager[httpx.Client]]
) -> None:
    """Each history in one of the protocols, in turn; the slow tier asks for all of them, both
    streamed and whole. Over the ten families every history is told in every protocol."""
    paths, first = list(PROTOCOLS), list(SAMPLE).index(name)
    with served([name]) as client:
        cells = [
            ask(
                client, name, history, paths[(row + first) % 4], stream=bool((row + first // 4) % 2)
            )
            for row, history in enumerate(HISTORIES)
        ]
    assert [cell for cell in cells if cell.problem] == []


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_template_takes_every_history_in_every_protocol(
    served: Callable[[list[str]], AbstractContextManager[httpx.Client]],
) -> None:
    found: list[Cell] = []
    names = real_templates.names()
    with served(names) as client:
        for name in names:
            cells = [
                ask(client, name, history, path, stream=stream)
                for history in HISTORIES
                for path in PROTOCOLS
                for stream in (False, True)
            ]
            found += [cell for cell in cells if cell.problem]
            print(json.dumps({"template": name, "cells": len(cells)}))
    assert found == []
