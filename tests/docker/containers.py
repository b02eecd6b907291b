"""What the tests ask Docker about a project's containers."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from local_ai_suite.paths import Paths
from local_ai_suite.stack import compose
from stack_project import CHECKOUT, DOCKER_TIMEOUT_S, Project, close, docker, new_project

BUILD_TIMEOUT_S = 1500.0


def packaged_project(folder: Path) -> Project:
    """A clone that runs in Docker, with the sources that the images are built from.

    All clones of one checkout have the same sources, so the images are built once.
    """
    project = new_project(folder)
    for name in ("pyproject.toml", "uv.lock", "README.md", "LICENSE", ".dockerignore"):
        shutil.copy(CHECKOUT / name, folder / name)
    (folder / "scripts").mkdir()
    shutil.copy(CHECKOUT / "scripts" / "bootstrap.txt", folder / "scripts")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(CHECKOUT / "src", folder / "src", ignore=ignored)
    project.environment |= {"RUNTIME": "docker"}
    project.timeout_s = BUILD_TIMEOUT_S
    return project


def remove(project: Project) -> None:
    """Stop the containers and take their volume with them."""
    close(project)
    label = f"label=com.docker.compose.project={compose_project(project)}"
    for volume in docker("volume", "ls", "-q", "--filter", label).split():
        subprocess.run(["docker", "volume", "rm", "-f", volume], check=False, timeout=60)


def logs(container: str) -> str:
    """All that the container said: the services log to stderr."""
    done = subprocess.run(
        ["docker", "logs", container],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=DOCKER_TIMEOUT_S, check=True,
    )  # fmt: skip
    return done.stdout


def compose_project(project: Project) -> str:
    return compose.project_name(Paths(project.folder, project.folder / ".state"))


def inspect(project: Project, service: str) -> dict[str, Any]:
    name = docker(
        "ps", "-aq", "--filter", f"label=com.docker.compose.project={compose_project(project)}",
        "--filter", f"label=com.docker.compose.service={service}",
    ).strip()  # fmt: skip
    assert name, f"no container of {service}"
    found: dict[str, Any] = json.loads(docker("inspect", name))[0]
    return found


def left_of(project: Project) -> dict[str, str]:
    label = f"label=com.docker.compose.project={compose_project(project)}"
    return {
        "containers": docker("ps", "-aq", "--filter", label),
        "networks": docker("network", "ls", "-q", "--filter", label),
    }
