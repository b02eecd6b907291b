"""The model files and the probe of ``benchmarks/`` serve the tests, too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import pytest
from fit_machines import models

from local_ai_suite.gguf import GgufFile


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, GgufFile]:
    return models(tmp_path_factory.mktemp("fit-models"))
