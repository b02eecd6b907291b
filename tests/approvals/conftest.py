"""A gate over a folder of its own for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from approval_room import Room

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)
