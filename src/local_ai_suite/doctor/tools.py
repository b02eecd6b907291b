"""Checks of the programs: the engine and its GPU support, the gateway, Docker. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.errors import SuiteError
from local_ai_suite.messages import tr
from local_ai_suite.stack.compose import toolkit_hint

from .check import Check, failure, ok, warning
from .machine import gpus, on_wsl

if TYPE_CHECKING:
    from pathlib import Path

    from .snapshot import Snapshot

_LEAST_PYTHON = (3, 11)
# Our two images, what they are built from, and the builder's copies of them.
_LEAST_DOCKER_DISK = 4e9
# 1.82.7 and 1.82.8 carried a credential stealer (litellm#24518).
_STOLEN_LITELLM = frozenset({"1.82.7", "1.82.8"})
_INSTALL = tr("Run `make up-p1`: it installs what is locked in uv.lock.")
_CUDA_ENGINE = tr(
    "Three ways to a CUDA engine: `lais engine build` compiles one (needs "
    "NVIDIA's CUDA toolkit); put a CUDA build of llama.cpp's llama-server on "
    "PATH or into LLAMA_SERVER in .env; or RUNTIME=docker with the NVIDIA "
    "Container Toolkit."
)


def check_python(facts: Snapshot) -> Check:
    version = ".".join(map(str, facts.python))
    if facts.python < _LEAST_PYTHON:
        return failure(
            "python",
            tr("Python {version} is too old", version=version),
            tr("Install Python 3.11 or newer."),
        )
    suite = facts.versions.get("local-ai-suite") or "?"
    return ok(
        "python", tr("Python {version}, local-ai-suite {suite}", version=version, suite=suite)
    )


def check_engine(facts: Snapshot) -> list[Check]:
    engine = facts.engine
    if engine is None:
        error = facts.engine_error
        grade = failure if facts.runtime == "native" else warning
        return [
            grade(
                "engine",
                error.message if error else tr("no inference engine was found"),
                error.hint if error else _INSTALL,
            )
        ]
    version = engine.version or tr("of unknown version")
    if engine.source == "embedded":
        package = facts.versions.get("xllamacpp") or version
        name = tr("the embedded engine, {version}", version=package)
    else:
        name = tr("{program}, llama.cpp {version}", program=engine.command[0], version=version)
    words = tr("{name} ({reason})", name=name, reason=engine.reason)
    details = {"source": engine.source, "version": engine.version, "devices": list(engine.devices)}
    if engine.version is None and engine.gpu is None:
        # A binary for another processor dies at once; so would the service.
        grade = failure if facts.runtime == "native" else warning
        return [
            grade(
                "engine",
                tr(
                    "{engine} did not answer when it was asked for its version and devices",
                    engine=words,
                ),
                tr("Try it: {command}", command=" ".join([*engine.command, "--version"])),
                **details,
            )
        ]
    return [ok("engine", words, **details), *_check_engine_gpu(facts)]


def _check_engine_gpu(facts: Snapshot) -> list[Check]:
    """The silent CPU is what people complain about most: said loudly."""
    engine, found = facts.engine, gpus(facts)
    if engine is None or not found:
        return []
    if facts.settings is not None and facts.settings.n_gpu_layers == 0:
        return [ok("engine-gpu", tr("N_GPU_LAYERS=0: the CPU does the work, as wanted"))]
    if engine.devices:
        return [
            ok("engine-gpu", tr("the engine sees {devices}", devices="; ".join(engine.devices)))
        ]
    names = ", ".join(gpu.name for gpu in found)
    if engine.gpu:
        return [
            warning(
                "engine-gpu",
                tr(
                    "THE GPU WILL NOT BE USED: {names} is there, the engine has GPU support and "
                    "sees no device",
                    names=names,
                ),
                tr(
                    "The driver may be older than the engine's CUDA: update it; `nvidia-smi` "
                    "shows the newest CUDA that it takes."
                ),
            )
        ]
    return [
        warning(
            "engine-gpu",
            tr(
                "THE GPU WILL NOT BE USED: {names} is there, and the engine found has no GPU "
                "support; everything runs on the CPU, many times slower",
                names=names,
            ),
            _CUDA_ENGINE,
        )
    ]


def check_gateway(facts: Snapshot) -> list[Check]:
    version = facts.versions.get("litellm")
    if version is None:
        grade = failure if facts.runtime == "native" else warning
        return [grade("gateway", tr("LiteLLM is not installed"), _INSTALL)]
    if version in _STOLEN_LITELLM:
        return [
            failure(
                "gateway",
                tr(
                    "LiteLLM {version} is the release that carried a credential stealer",
                    version=version,
                ),
                tr(
                    "{install} Then change every key that this machine had in its environment.",
                    install=_INSTALL,
                ),
                version=version,
            )
        ]
    return [ok("gateway", tr("LiteLLM {version}", version=version), version=version)]


def check_docker(facts: Snapshot) -> list[Check]:
    settings, docker = facts.settings, facts.docker
    if docker is None:
        return [ok("docker", tr("RUNTIME=native: Docker is not needed"))]
    if docker.trouble is not None:
        if settings is not None and settings.runtime == "docker":
            return [failure("docker", docker.trouble.message, docker.trouble.hint)]
        return [
            ok(
                "docker",
                tr("{message}: the services run as processes", message=docker.trouble.message),
            )
        ]
    versions = tr(
        "engine {version}, Compose {compose}",
        version=docker.version or "?",
        compose=docker.compose or "?",
    )
    found = [ok("docker", versions, version=docker.version, compose=docker.compose)]
    if gpus(facts) and docker.gpu is False:
        names = ", ".join(gpu.name for gpu in gpus(facts))
        found.append(
            warning(
                "docker-gpu",
                tr(
                    "{names} is there, and Docker cannot pass it on: containers run on the CPU",
                    names=names,
                ),
                tr(
                    "{toolkit} Or set RUNTIME=native in .env.",
                    toolkit=toolkit_hint(on_wsl=on_wsl(facts)),
                ),
            )
        )
    elif isinstance(docker.inside, tuple) and docker.inside:
        found.append(
            ok("docker-gpu", tr("a container sees {inside}", inside="; ".join(docker.inside)))
        )
    elif isinstance(docker.inside, SuiteError):
        found.append(
            warning(
                "docker-gpu",
                tr(
                    "a container that asked for the GPU was refused it: {message}",
                    message=docker.inside.message,
                ),
                docker.inside.hint,
            )
        )
    elif docker.gpu and (gpus(facts) or docker.inside == ()):
        words = tr("Docker knows NVIDIA's runtime; a container is asked once the images are built")
        found.append(ok("docker-gpu", words))
    if docker.root is not None and docker.root.free_bytes is not None:
        found.append(_check_docker_disk(docker.root.path, docker.root.free_bytes))
    return found


def _check_docker_disk(path: Path, free: int) -> Check:
    words = tr("{free:.1f} GB are free for images ({path})", free=free / 1e9, path=path)
    if free < _LEAST_DOCKER_DISK:
        remedy = tr(
            "`docker system df` shows what takes the space, `docker system prune` frees some."
        )
        return warning("docker-disk", words, remedy, free_bytes=free)
    return ok("docker-disk", words, free_bytes=free)
