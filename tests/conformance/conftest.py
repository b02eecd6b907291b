"""The targets, each started once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import targets

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("conformance")


@pytest.fixture(scope="session")
def pool(folder: Path) -> Iterator[str]:
    with targets.pool(folder / "pool") as url:
        yield url


@pytest.fixture(scope="session")
def direct(folder: Path) -> Iterator[targets.Target]:
    with targets.direct(folder) as target:
        yield target


@pytest.fixture(scope="session")
def relay(folder: Path, pool: str) -> Iterator[targets.Target]:
    with targets.gateway("relay", folder / "relay", pool) as target:
        yield target


@pytest.fixture(scope="session")
def litellm(folder: Path, pool: str) -> Iterator[targets.Target]:
    with targets.gateway("litellm", folder / "litellm", pool, GATEWAY_RELAY="off") as target:
        yield target
