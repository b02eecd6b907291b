"""Which engine binary runs the models.

In this order: ``LLAMA_SERVER`` in the settings, the one that ``lais engine build`` made,
``llama-server`` on PATH, the embedded engine (the ``xllamacpp`` wheel). One that was named and
isn't there is an error; it is not silently replaced by the next.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from local_ai_suite.errors import EngineNotFound
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings

logger = logging.getLogger(__name__)

# --version, --list-devices and --help answer in milliseconds; a CUDA driver that has to wake a
# laptop's GPU takes a few seconds.
ASK_SECONDS = 20.0
EMBEDDED_MODULE = "local_ai_suite.engine.embedded"
_GPU_LIBRARIES = ("cuda", "vulkan", "hip", "metal", "sycl", "musa", "cann", "opencl")

_FREE = re.compile(r"([A-Za-z]+\d*): .*\(\d+ MiB, (\d+) MiB free\)$")

Source = Literal["setting", "built", "path", "embedded"]
Ask = Callable[[Sequence[str], Mapping[str, str]], "str | None"]


@dataclass(frozen=True, slots=True)
class FoundEngine:
    """An engine that can be started.

    ``gpu``: whether it can use a GPU; ``None`` if it did not say. ``devices``: what it sees now
    (``CUDA0: NVIDIA GeForce RTX 4050 Laptop GPU (6140 MiB, 5890 MiB free)``). ``flags``: the flag
    names that it understands; ``None`` if unknown. ``problem``: why it is passed over.
    """

    source: Source
    command: tuple[str, ...]
    reason: str
    version: str | None = None
    gpu: bool | None = None
    devices: tuple[str, ...] = ()
    flags: frozenset[str] | None = None
    problem: str | None = None


def device_order(environ: Mapping[str, str], cuda_visible_devices: str | None) -> dict[str, str]:
    """``environ`` in which an engine numbers its GPUs as nvidia-smi and the plan do: by PCI bus, of
    those that the setting leaves. CUDA's own order is the fastest first."""
    env = dict(environ)
    env.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    if cuda_visible_devices is not None:
        env["CUDA_VISIBLE_DEVICES"] = cuda_visible_devices
    return env


def free_on_devices(devices: Sequence[str]) -> dict[str, int]:
    """Free bytes by device, off lines as :func:`parse_devices` gives them."""
    found = {}
    for line in devices:
        if match := _FREE.match(line):
            found[match[1]] = int(match[2]) << 20
    return found


def look_at_devices(found: FoundEngine, settings: Settings) -> dict[str, int]:
    """Free bytes by device (``CUDA0``) as the engine sees them now; empty if it does not say.

    Starts the engine for a moment (:data:`ASK_SECONDS` at most). What its own CUDA context takes
    meanwhile counts as taken.
    """
    env = device_order(os.environ, settings.cuda_visible_devices)
    return free_on_devices(parse_devices(_ask([*found.command, "--list-devices"], env) or ""))


def built_engine(paths: Paths) -> Path:
    """Where ``lais engine build`` puts its ``llama-server``."""
    return paths.cache / "engine" / "native" / "llama-server"


def find_engines(
    settings: Settings,
    paths: Paths,
    *,
    environ: Mapping[str, str] | None = None,
    ask: Ask | None = None,
) -> tuple[FoundEngine, ...]:
    """Every engine that is there, the one to use first. Raises EngineNotFound if there is none.

    A named ``LLAMA_SERVER`` that can't be run raises too.
    """
    found = tuple(_candidates(settings, paths, environ, ask))
    usable = [item for item in found if item.problem is None]
    if not usable:
        raise _none()
    return (*usable, *(item for item in found if item.problem is not None))


def find_engine(
    settings: Settings, paths: Paths, *, environ: Mapping[str, str] | None = None
) -> FoundEngine:
    """The engine to use; the others are not asked. Raises EngineNotFound."""
    for found in _candidates(settings, paths, environ, None):
        if found.problem is None:
            return found
        logger.warning("%s: %s", found.command[0], found.problem)
    raise _none()


def _candidates(
    settings: Settings, paths: Paths, environ: Mapping[str, str] | None, ask: Ask | None
) -> Iterator[FoundEngine]:
    env = device_order(os.environ if environ is None else environ, settings.cuda_visible_devices)
    inquire = ask or _ask
    if settings.llama_server:
        path = _named(settings.llama_server, paths, env)
        where = settings.sources.get("LLAMA_SERVER", "the settings")
        yield _native(
            "setting", path, tr("LLAMA_SERVER names it ({where})", where=where), env, inquire
        )
    built = built_engine(paths)
    if _runnable(built):
        reason = tr("`lais engine build` compiled it for this machine")
        yield _proved(_native("built", built, reason, env, inquire))
    if on_path := shutil.which("llama-server", path=env.get("PATH")):
        yield _native("path", Path(on_path), tr("it is on PATH"), env, inquire)
    if importlib.util.find_spec("xllamacpp") is not None:
        yield _embedded(env, inquire)


def _proved(built: FoundEngine) -> FoundEngine:
    """Its instructions are those of the machine it was compiled on; the folder may have moved."""
    if built.version is not None:
        return built
    problem = tr("it does not run on this machine; `lais engine build` makes one that does")
    return replace(built, problem=problem)


def _none() -> EngineNotFound:
    return EngineNotFound(
        tr(
            "no inference engine: LLAMA_SERVER is not set, llama-server is not on PATH, "
            "and the embedded engine (xllamacpp) is not installed"
        ),
        hint=tr("Run `make up-p1`, which installs the embedded engine, or `lais engine build`."),
    )


def _named(text: str, paths: Paths, env: Mapping[str, str]) -> Path:
    path = Path(text).expanduser()
    if len(path.parts) == 1 and (found := shutil.which(text, path=env.get("PATH"))):
        return Path(found)
    path = paths.project / path
    if not _runnable(path):
        why = tr("is not there") if not path.exists() else tr("cannot be executed")
        raise EngineNotFound(
            tr("LLAMA_SERVER is {text!r}, and {path} {why}", text=text, path=path, why=why),
            hint=tr("Give the path of a llama-server binary, or remove LLAMA_SERVER from .env."),
            path=str(path),
        )
    return path


def _runnable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _native(
    source: Source, path: Path, reason: str, env: Mapping[str, str], ask: Ask
) -> FoundEngine:
    command = (str(path),)
    version = ask([*command, "--version"], env)
    listed = ask([*command, "--list-devices"], env)
    helped = ask([*command, "--help"], env)
    devices = parse_devices(listed) if listed is not None else ()
    return FoundEngine(
        source=source,
        command=command,
        reason=reason,
        version=parse_version(version),
        gpu=True if devices or _gpu_library(path) else (None if listed is None else False),
        devices=devices,
        flags=frozenset(re.findall(r"(?<![\w-])--?[a-z][\w-]*", helped)) if helped else None,
    )


def _embedded(env: Mapping[str, str], ask: Ask) -> FoundEngine:
    # Asked in a process of its own: the library is 100 MB, and this process needs none of it.
    command = (sys.executable, "-m", EMBEDDED_MODULE)
    listed = ask([*command, "--list-devices"], env)
    devices = parse_devices(listed) if listed is not None else ()
    return FoundEngine(
        source="embedded",
        command=command,
        reason=tr("the embedded engine is installed and nothing else was found before it"),
        version=f"{metadata.version('xllamacpp')} (xllamacpp)",
        gpu=None if listed is None else bool(devices),
        devices=devices,
        flags=None,
    )


def parse_version(text: str | None) -> str | None:
    """``version: 6123 (1a2b3c4)`` -> ``6123 (1a2b3c4)``."""
    match = re.search(r"version:\s*(.+)", text or "")
    return match.group(1).strip() if match else None


def parse_devices(text: str) -> tuple[str, ...]:
    """The device lines of ``--list-devices``: indented ``NAME: description (N MiB, N MiB free)``.

    BLAS and the CPU are no devices that hold layers.
    """
    lines = re.findall(r"^\s+([A-Za-z]+\d*: .+)$", text, re.MULTILINE)
    return tuple(line for line in lines if not line.startswith(("BLAS", "CPU")))


def _gpu_library(path: Path) -> bool:
    """Whether a GPU backend lies beside the binary (``libggml-cuda.so``), driver or not."""
    folders = (path.resolve().parent, path.resolve().parent.parent / "lib")
    return any(
        True
        for folder in folders
        for kind in _GPU_LIBRARIES
        for _ in folder.glob(f"libggml-{kind}*")
    )


def _ask(command: Sequence[str], env: Mapping[str, str]) -> str | None:
    """What a command prints on both streams; ``None`` if it fails or does not answer."""
    try:
        done = subprocess.run(
            command, env=dict(env), stdin=subprocess.DEVNULL, capture_output=True,
            timeout=ASK_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return (done.stdout + done.stderr).decode("utf-8", "replace")
