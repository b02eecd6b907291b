"""What the tests ask Docker about a project's containers."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from local_ai_suite import compose
from local_ai_suite.paths import Paths
from stack_project import Project

DOCKER_TIMEOUT_S = 120.0


def docker(*words: str) -> str:
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=DOCKER_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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
