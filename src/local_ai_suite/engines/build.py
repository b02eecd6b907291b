"""``lais engine build``: llama-server compiled for this very machine, from pinned sources.

The sources are the ``llama.cpp`` folder inside xllamacpp's source distribution, the same version as
the embedded engine; ``uv.lock`` pins its address and SHA-256. Everything happens in the project's
cache. The binary gets its place only after it has answered ``--version``. A build that was
interrupted is taken up where it stopped; one that failed starts anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile
import time
import tomllib
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import httpx
import psutil

from local_ai_suite.errors import EngineError, NetworkError
from local_ai_suite.messages import tr
from local_ai_suite.process import stop_tree

from .find import built_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from local_ai_suite.paths import Paths

PACKAGE = "xllamacpp"
SOURCES = "thirdparty/llama.cpp"
# Sources 0.2 GiB, object files 0.5 GiB (CUDA: 3 GiB).
DISK_NEEDED, DISK_NEEDED_CUDA = 2 * 2**30, 6 * 2**30
# An index that stops sending must not hang a person; a slow line still gets through.
NETWORK_SECONDS = 60.0
VERSION_SECONDS = 30.0
_CHUNK = 1 << 18
# More than the archive has ever held: a bound, not an estimate.
_MOST_FILES, _MOST_BYTES = 50_000, 2 * 2**30
_LOG_LINES = 25
# The largest of llama.cpp's C++ files takes about 1 GiB to compile, a CUDA one up to 2.
_JOB_BYTES = 3 * 2**29
_PROGRESS = re.compile(r"^\[\s*(?:(\d+)%|(\d+)/(\d+))\]")


@dataclass(frozen=True, slots=True)
class Pin:
    """The source distribution that ``uv.lock`` names."""

    version: str
    url: str
    sha256: str
    size: int | None


@dataclass(frozen=True, slots=True)
class Built:
    """What was built, as ``build.json`` beside the binary tells."""

    path: str
    version: str
    source_sha256: str
    cuda: bool
    flags: tuple[str, ...]
    seconds: float


def read_pin(lock: Path) -> Pin:
    """The pin of :data:`PACKAGE` in ``uv.lock``. Raises EngineError."""
    try:
        data = tomllib.loads(lock.read_text(encoding="utf-8"))
        package = next(item for item in data["package"] if item["name"] == PACKAGE)
        sdist = package["sdist"]
        digest = re.fullmatch(r"sha256:([0-9a-f]{64})", sdist["hash"])[1]  # type: ignore[index]
        return Pin(package["version"], sdist["url"], digest, sdist.get("size"))
    except (OSError, KeyError, TypeError, StopIteration, tomllib.TOMLDecodeError) as exc:
        raise EngineError(
            tr(
                "{lock} does not pin the sources of {package}: {exc!r}",
                lock=lock,
                package=PACKAGE,
                exc=exc,
            ),
            hint=tr("Run this in a checkout of the project, with its uv.lock."),
        ) from exc


def wants_cuda(environ_path: str | None, gpus: Sequence[object]) -> bool:
    """CUDA when both the compiler (nvcc) and a GPU are there."""
    return bool(gpus) and shutil.which("nvcc", path=environ_path) is not None


def cmake_flags(*, cuda: bool) -> tuple[str, ...]:
    """For this machine's own processor, static, without what downloads at build time."""
    flags = [
        "-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF",
        "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF", "-DLLAMA_BUILD_APP=OFF",
        "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF",
    ]  # fmt: skip
    if cuda:
        flags += ["-DGGML_CUDA=ON", "-DCMAKE_CUDA_ARCHITECTURES=native"]
    return tuple(flags)


def build(
    paths: Paths,
    *,
    cuda: bool,
    progress: Callable[[str, float | None], None],
    pin: Pin | None = None,
    jobs: int | None = None,
    flags: Sequence[str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Built:
    """Fetch, check, unpack, compile, prove, and put the binary in its place.

    ``progress`` gets what is being done and how much of it (0 to 1); ``flags`` are cmake's. Raises
    EngineError with the end of the compiler's output, or NetworkError.
    """
    began = clock()
    pin = pin or read_pin(_lock(paths))
    _check_tools(cuda=cuda)
    work = paths.cache / "engine" / "build"
    work.mkdir(parents=True, exist_ok=True)
    with _alone(work / "lock"):
        _check_disk(work, DISK_NEEDED_CUDA if cuda else DISK_NEEDED)
        archive = fetch(pin, work / f"{PACKAGE}-{pin.version}.tar.gz", progress)
        sources = unpack(archive, work / "sources", progress, digest=pin.sha256)
        # There is no git here to tell: without a name every build would call itself "build 0".
        name = f"-DLLAMA_BUILD_COMMIT={PACKAGE}-{pin.version}"
        flags = (*(cmake_flags(cuda=cuda) if flags is None else flags), name)
        log = paths.ensure_state() / "logs" / "engine-build.log"
        tree = work / "tree"
        _prepare(tree, {"sources": pin.sha256, "flags": list(flags), "ninja": _ninja()})
        try:
            binary = _compile(sources, tree, flags, jobs or _jobs(), log, progress)
        except EngineError:
            # What an interruption leaves is taken up; what failed may have made it fail.
            shutil.rmtree(tree, ignore_errors=True)
            raise
        built = Built(
            path=str(built_engine(paths)),
            version=_version(binary),
            source_sha256=pin.sha256,
            cuda=cuda,
            flags=flags,
            seconds=round(clock() - began, 1),
        )
        _install(binary, built)
        for folder in (work / "sources", work / "tree"):
            shutil.rmtree(folder, ignore_errors=True)
    return built


def read_built(paths: Paths) -> dict[str, Any] | None:
    """What ``build.json`` says; ``None`` where nothing was built."""
    try:
        found = json.loads((built_engine(paths).parent / "build.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_outdated(paths: Paths) -> bool:
    """Whether what was built came from other sources than ``uv.lock`` pins now."""
    built = read_built(paths)
    try:
        return built is not None and built.get("source_sha256") != read_pin(_lock(paths)).sha256
    except EngineError:
        return False  # nothing is pinned here, so nothing is newer


def _lock(paths: Paths) -> Path:
    return paths.project / "uv.lock"


def fetch(pin: Pin, target: Path, progress: Callable[[str, float | None], None]) -> Path:
    """The archive, downloaded if it is not there yet; its SHA-256 is checked either way."""
    if target.is_file() and _sha256(target) == pin.sha256:
        return target
    part = target.with_name(target.name + ".part")
    try:
        with (
            httpx.stream("GET", pin.url, timeout=NETWORK_SECONDS, follow_redirects=True) as answer,
            part.open("wb") as file,
        ):
            answer.raise_for_status()
            got = _copy(answer, file, pin, progress)
    except httpx.HTTPError as exc:
        raise NetworkError(
            tr("the sources could not be downloaded: {exc}", exc=exc),
            hint=tr("Check the connection and try again; nothing was changed."),
        ) from exc
    except OSError as exc:
        raise EngineError(
            tr("{part} cannot be written: {exc}", part=part, exc=exc),
            hint=tr("Make room and retry."),
        ) from exc
    if got != pin.sha256:
        part.unlink()
        raise EngineError(
            tr(
                "what was downloaded is not what uv.lock pins: SHA-256 {got}, not {sha256}",
                got=got,
                sha256=pin.sha256,
            ),
            hint=tr("Try again; if it stays so, the download is being tampered with."),
        )
    part.replace(target)
    return target


def _copy(
    answer: httpx.Response, file: IO[bytes], pin: Pin, progress: Callable[[str, float | None], None]
) -> str:
    digest = hashlib.sha256()
    done, most = 0, pin.size or _MOST_BYTES
    for chunk in answer.iter_bytes(_CHUNK):
        digest.update(chunk)
        file.write(chunk)
        done += len(chunk)
        if done > most:
            break  # longer than what was pinned: its hash is wrong already
        progress(tr("downloading the sources"), done / pin.size if pin.size else None)
    return digest.hexdigest()


def unpack(
    archive: Path, target: Path, progress: Callable[[str, float | None], None], *, digest: str
) -> Path:
    """Only llama.cpp's folder, with tarfile's ``data`` filter: no link or path leads out of it.

    What lies there already, whole and from the same archive, stays as it is: newer files would be
    compiled again.
    """
    stamp = target / ".unpacked"
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == digest:
        return target
    progress("unpacking", None)
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    files = size = 0
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                inside = "/".join(member.name.split("/")[1:])
                if not inside.startswith(SOURCES + "/"):
                    continue
                files, size = files + 1, size + member.size
                if files > _MOST_FILES or size > _MOST_BYTES:
                    raise EngineError(tr("the archive is larger than any it has ever been"))
                member.name = inside.removeprefix(SOURCES + "/")
                tar.extract(member, target, filter="data")
    except (tarfile.TarError, EOFError, OSError) as exc:
        raise EngineError(
            tr("{archive} cannot be unpacked: {exc}", archive=archive, exc=exc),
            hint=tr("Try again."),
        ) from exc
    if not (target / "CMakeLists.txt").is_file():
        raise EngineError(
            tr("{archive} holds no {sources}", archive=archive, sources=SOURCES),
            hint=tr("Report this as a defect."),
        )
    stamp.write_text(digest, encoding="utf-8")
    return target


def _prepare(tree: Path, made_for: dict[str, Any]) -> None:
    """Keep what an interrupted build has compiled for the same sources and flags.

    Only where ninja builds: its log names the files that were finished. make goes by their age and
    would link one that was cut off.
    """
    stamp = tree / "made-for.json"
    text = json.dumps(made_for, sort_keys=True)
    try:
        same = stamp.read_text(encoding="utf-8") == text
    except OSError:
        same = False
    if not (same and made_for["ninja"]):
        shutil.rmtree(tree, ignore_errors=True)
        tree.mkdir(parents=True)
        stamp.write_text(text, encoding="utf-8")


def _ninja() -> bool:
    return shutil.which("ninja") is not None


def _compile(
    sources: Path,
    tree: Path,
    flags: Sequence[str],
    jobs: int,
    log: Path,
    progress: Callable[[str, float | None], None],
) -> Path:
    generator = ["-G", "Ninja"] if _ninja() else []
    with log.open("w", encoding="utf-8") as file:
        progress("configuring", None)
        configure = ["cmake", "-S", str(sources), "-B", str(tree), *generator, *flags]
        _run(configure, file, lambda _: None)

        def watch(line: str) -> None:
            if match := _PROGRESS.match(line):
                percent, done, total = match.groups()
                part = int(percent) / 100 if percent else int(done) / max(1, int(total))
                progress("compiling", part)

        target = ["--build", str(tree), "--target", "llama-server", "--parallel", str(jobs)]
        _run(["cmake", *target], file, watch)
    binary = tree / "bin" / "llama-server"
    if not binary.is_file():
        raise EngineError(
            tr("the build made no {binary}", binary=binary), hint=tr("Its log: {log}", log=log)
        )
    return binary


def _run(command: Sequence[str], log: IO[str], watch: Callable[[str], None]) -> None:
    """Run a command to its end; Ctrl-C ends its whole tree. Raises EngineError."""
    tail: list[str] = []
    with subprocess.Popen(
        ["nice", "-n", "10", *command] if shutil.which("nice") else command,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None  # noqa: S101
        try:
            for line in process.stdout:
                log.write(line)
                tail = [*tail[1 - _LOG_LINES :], line.rstrip()]
                watch(line)
        except BaseException:
            # Not its group: ninja gives every compiler a group of its own.
            stop_tree(process.pid, None, stop_seconds=0.1)
            raise
    if process.returncode != 0:
        telling = [line for line in tail if "rror" in line] or tail
        raise EngineError(
            tr(
                "{command} failed with {code}: {telling}",
                command=command[0],
                code=process.returncode,
                telling=telling[0] if telling else "",
            ),
            hint=tr("The whole output: {name}", name=log.name),
            log=tail,
        )


def _check_tools(*, cuda: bool) -> None:
    wanted = {
        "cmake": "cmake",
        tr("make or ninja"): "make",
        tr("a C compiler"): "gcc",
        tr("a C++ compiler"): "g++",
    }
    found = {
        "cmake": shutil.which("cmake"),
        tr("make or ninja"): shutil.which("ninja") or shutil.which("make"),
        tr("a C compiler"): shutil.which("cc") or shutil.which("gcc") or shutil.which("clang"),
        tr("a C++ compiler"): shutil.which("c++") or shutil.which("g++") or shutil.which("clang++"),
        **({"nvcc": shutil.which("nvcc")} if cuda else {}),
    }
    missing = [name for name, path in found.items() if path is None]
    if missing:
        packages = " ".join(wanted.get(name, "nvidia-cuda-toolkit") for name in missing)
        hint = tr("On Debian and Ubuntu: sudo apt-get install {packages}.", packages=packages)
        if "cmake" in missing:
            hint += tr(" cmake is also on PyPI: pipx install cmake.")
        raise EngineError(
            tr("to compile, {missing} must be installed", missing=", ".join(missing)), hint=hint
        )


def _check_disk(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise EngineError(
            tr(
                "{folder} has {free} MiB free; the build needs {needed} MiB",
                folder=folder,
                free=free // 2**20,
                needed=needed // 2**20,
            ),
            hint=tr("Make room, and try again."),
        )


def _version(binary: Path) -> str:
    """Prove that the binary runs here. Raises EngineError."""
    try:
        done = subprocess.run(
            [str(binary), "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=VERSION_SECONDS, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as exc:
        raise EngineError(tr("the compiled llama-server does not run: {exc}", exc=exc)) from exc
    match = re.search(r"version: (.+)", done.stdout + done.stderr)
    return match.group(1).strip() if match else "unknown"


def _install(binary: Path, built: Built) -> None:
    """Put the folder with binary and ``build.json`` in place of the one before."""
    place = Path(built.path).parent
    fresh, old = place.with_name("native.new"), place.with_name("native.old")
    for folder in (fresh, old):
        shutil.rmtree(folder, ignore_errors=True)
    fresh.mkdir(parents=True)
    shutil.copy2(binary, fresh / "llama-server")
    text = json.dumps(asdict(built), indent=2)
    (fresh / "build.json").write_text(text, encoding="utf-8")
    # Processes that still run the old binary keep it: its folder is moved, then removed.
    if place.exists():
        place.replace(old)
    fresh.replace(place)
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise EngineError(
                tr("another `lais engine build` is at work here"), hint=tr("Wait for it to end.")
            ) from exc
        yield


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _jobs() -> int:
    """A compiler per core, as far as the free memory goes."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, psutil.virtual_memory().available // _JOB_BYTES))
