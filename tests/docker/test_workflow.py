"""The workflow against GitHub's schema, the Compose files against theirs. Needs no Docker."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.y*ml"))


COMPOSE_FILES = sorted((ROOT / "docker").glob("compose.*.yml"))


def check(file: Path, schema: str = "github-workflows") -> subprocess.CompletedProcess[str]:
    """The schema is part of the package, as schemastore.org has it: nothing is downloaded."""
    words = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    return subprocess.run(
        [*words, f"vendor.{schema}", str(file)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_the_workflow_fits_githubs_schema(file: Path) -> None:
    done = check(file)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_the_compose_files_fit_composes_schema(file: Path) -> None:
    done = check(file, "compose-spec")
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_workflow_with_a_fault_does_not(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yml"
    broken.write_text(WORKFLOWS[0].read_text().replace("runs-on:", "run-on:"))
    assert check(broken).returncode != 0


def test_it_runs_what_the_makefile_has() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    called: set[str] = set()
    for file in WORKFLOWS:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            for step in job["steps"]:
                called |= set(re.findall(r"\bmake ([a-z0-9-]+)", step.get("run", "")))
    assert called >= {"lint", "test", "test-docker"}
    assert called <= targets
