"""What this machine has: GPUs, memory, cores, WSL2, and what kind of path a file lies on.

Facts are measured or ``None``; nothing is guessed, and partial facts are valid. GPUs are read with
``nvidia-smi`` (it comes with the driver, also in WSL2), so no CUDA library is loaded here. Other
makers' GPUs are named, from the PCI bus, so that nobody wonders; nothing is planned for them.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import platform
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import psutil

from local_ai_suite.messages import Text, tr
from local_ai_suite.paths import filesystem_type

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

MIB = 1 << 20
# A GPU that sleeps, with no persistence daemon, takes the driver several seconds to wake.
NVIDIA_SMI_TIMEOUT = 15.0
# Where it lies when PATH lacks it: WSL2 mounts the Windows driver's own there.
_NVIDIA_SMI_PLACES = ("/usr/lib/wsl/lib/nvidia-smi", "/usr/bin/nvidia-smi")
_QUERY = ("index", "name", "memory.total", "memory.free", "driver_version", "uuid", "compute_cap")
_OLD_QUERY = _QUERY[:-1]  # drivers before 510 do not know compute_cap
_UNLIMITED = 1 << 60  # cgroup v1 writes "no limit" as a number near 2^63

READ_SECONDS = 0.3  # long enough for a steady figure, short enough for a command to wait
READ_SAMPLE = 256 * MIB
COPY_SECONDS = 0.1
_BLOCK = 32 * MIB  # two for each thread: together larger than the caches

_MAKERS = {"0x1002": "AMD", "0x8086": "Intel"}  # PCI vendor numbers

# Who said how much of a card is free: nvidia-smi, the engine, nobody in WSL2 but nvidia-smi (which
# hides what Windows uses there), nobody at all (a card that isn't here).
FreeSource = Literal["driver", "engine", "wsl", "imagined"]
PathKind = Literal["native", "windows_drive", "network", "unknown"]
_WINDOWS = frozenset({"drvfs", "9p", "v9fs", "virtiofs"})
_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "afs", "ceph", "9p"})


@dataclass(frozen=True, slots=True)
class Gpu:
    """One NVIDIA GPU. ``index`` counts as ``nvidia-smi`` does (by PCI bus).

    ``hidden_bytes``: what ``nvidia-smi`` calls free and ``free_bytes`` does not; ``free_source``
    says by whose word.
    """

    index: int
    name: str
    total_bytes: int | None = None
    free_bytes: int | None = None
    driver: str | None = None
    uuid: str | None = None
    compute_capability: str | None = None
    free_source: FreeSource = "driver"
    hidden_bytes: int = 0


@dataclass(frozen=True, slots=True)
class OtherGpu:
    """A GPU that is not NVIDIA's. ``device``: its PCI number (``1002:744c``); ``total_bytes``: of
    its own memory, as its driver says it."""

    maker: str
    device: str | None = None
    total_bytes: int | None = None

    def describe(self) -> str:
        """``AMD GPU [1002:744c] with 8192 MiB``."""
        which = f" [{self.device}]" if self.device else ""
        size = tr(" with {size} MiB", size=self.total_bytes // MIB) if self.total_bytes else ""
        return tr("{maker} GPU{which}{size}", maker=self.maker, which=which, size=size)


@dataclass(frozen=True, slots=True)
class Hardware:
    """A snapshot. ``gpu_problem`` says why no GPU was found although a tool for it is there.

    ``memory_*`` respect the container's limit (cgroups); ``cpu_threads`` are physical cores that
    this process may use: llama.cpp gains nothing from hyper-threads.
    """

    gpus: tuple[Gpu, ...] = ()
    memory_total_bytes: int | None = None
    memory_available_bytes: int | None = None
    cpu_threads: int | None = None
    cpu_name: str | None = None
    is_wsl: bool = False
    gpu_problem: str | None = None
    other_gpus: tuple[OtherGpu, ...] = ()

    def visible(self, cuda_visible_devices: str | None) -> tuple[Gpu, ...]:
        """The GPUs that ``CUDA_VISIBLE_DEVICES`` leaves: ``None`` all, empty none.

        As CUDA does, an entry it does not know ends the list.
        """
        if cuda_visible_devices is None:
            return self.gpus
        chosen: list[Gpu] = []
        for entry in cuda_visible_devices.split(","):
            word = entry.strip()
            found = [g for g in self.gpus if word and _names(word, g)]
            if len(found) != 1 or found[0] in chosen:
                break
            chosen.append(found[0])
        return tuple(chosen)


def _names(word: str, gpu: Gpu) -> bool:
    return word == str(gpu.index) or (word.startswith("GPU-") and (gpu.uuid or "").startswith(word))


def detect(
    *,
    nvidia_smi: str | None = None,
    environ: Mapping[str, str] | None = None,
    root: Path = Path("/"),
    system: tuple[str, str] | None = None,
) -> Hardware:
    """Look at the machine now. Bounded by :data:`NVIDIA_SMI_TIMEOUT`; never raises.

    ``nvidia_smi`` is the executable; ``root`` is where ``proc`` and ``sys`` lie; ``system`` is the
    platform and its processor (``darwin``, ``arm64``).
    """
    env = os.environ if environ is None else environ
    gpus, problem = _gpus(nvidia_smi, env)
    total, available = _memory(root)
    return Hardware(
        gpus=gpus,
        memory_total_bytes=total,
        memory_available_bytes=available,
        cpu_threads=_threads(root),
        cpu_name=_cpu_name(root),
        is_wsl=is_wsl(root),
        gpu_problem=problem,
        other_gpus=_other_gpus(root, system or (sys.platform, platform.machine())),
    )


def is_wsl(root: Path = Path("/")) -> bool:
    """Whether the kernel is Microsoft's: Windows Subsystem for Linux."""
    return "microsoft" in (_read(root / "proc/sys/kernel/osrelease") or "").lower()


def path_kind(
    path: Path,
    *,
    filesystem: Callable[[Path], str | None] = filesystem_type,
    wsl: bool | None = None,
) -> PathKind:
    """``windows_drive`` for /mnt/c in WSL2, ``network`` for a share, else ``native``.

    Windows drives are slow there and keep neither file modes nor locks. Outside WSL a 9p mount is
    a share of the host.
    """
    kind = filesystem(path)
    if kind is None:
        return "unknown"
    inside_wsl = is_wsl() if wsl is None else wsl
    if kind in _WINDOWS and inside_wsl:
        return "windows_drive"
    if kind in _NETWORK:
        return "network"
    return "native"


# GPUs


def _gpus(nvidia_smi: str | None, env: Mapping[str, str]) -> tuple[tuple[Gpu, ...], str | None]:
    program = nvidia_smi or _find_nvidia_smi(env)
    if program is None:
        return (), None
    code, text = _run(program, _QUERY)
    fields: Sequence[str] = _QUERY
    if code != 0 and "compute_cap" in text:
        fields = _OLD_QUERY
        code, text = _run(program, fields)
    if code != 0:
        last = text if isinstance(text, Text) else text.strip().rpartition("\n")[2]
        return (), tr(
            "{program}: {last}",
            program=program,
            last=last or tr("no answer"),
        )
    gpus = [gpu for line in text.splitlines() if (gpu := _gpu(line.split(","), fields))]
    return tuple(gpus), None if gpus else tr("{program} names no GPU", program=program)


def _find_nvidia_smi(env: Mapping[str, str]) -> str | None:
    folders = [Path(p) for p in env.get("PATH", "").split(os.pathsep) if p]
    places = [*(folder / "nvidia-smi" for folder in folders), *map(Path, _NVIDIA_SMI_PLACES)]
    return next((str(p) for p in places if os.access(p, os.X_OK) and p.is_file()), None)


def _run(program: str, fields: Sequence[str]) -> tuple[int, str]:
    command = [program, f"--query-gpu={','.join(fields)}", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=NVIDIA_SMI_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, tr("no answer within {seconds:g} s", seconds=NVIDIA_SMI_TIMEOUT)
    except OSError as exc:
        return 126, exc.strerror or str(exc)
    # nvidia-smi writes its errors ("Failed to initialize NVML") to stdout.
    text = done.stdout or (done.stderr if done.returncode else b"")
    return done.returncode, text.decode("utf-8", errors="replace")


def _gpu(row: list[str], fields: Sequence[str]) -> Gpu | None:
    if len(row) != len(fields):
        return None
    values = {k: _known(v) for k, v in zip(fields, row, strict=True)}
    index = _number(values.get("index"))
    if index is None:
        return None
    total, free = _number(values.get("memory.total")), _number(values.get("memory.free"))
    return Gpu(
        index=index,
        name=values.get("name") or tr("unknown GPU"),
        total_bytes=None if total is None else total * MIB,
        free_bytes=None if free is None else free * MIB,
        driver=values.get("driver_version"),
        uuid=values.get("uuid"),
        compute_capability=values.get("compute_cap"),
    )


def _known(text: str) -> str | None:
    """``[N/A]``, ``[Not Supported]`` and ``[Unknown Error]`` are how nvidia-smi says unknown."""
    text = text.strip()
    return None if not text or text.startswith("[") else text


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _other_gpus(root: Path, system: tuple[str, str]) -> tuple[OtherGpu, ...]:
    """Display controllers of other makers on the PCI bus; the GPU in each of Apple's own chips.

    What shows a picture only (a server's BMC, a virtual machine's screen) is of none of the makers.
    """
    if system == ("darwin", "arm64"):
        return (OtherGpu("Apple"),)
    found = []
    for device in sorted((root / "sys/bus/pci/devices").glob("*")):
        maker = _MAKERS.get(_read(device / "vendor") or "")
        if maker is None or not (_read(device / "class") or "").startswith("0x03"):
            continue
        # amdgpu tells its memory (of an APU: the share that the firmware has set aside).
        size = _number(_read(device / "mem_info_vram_total"))
        numbers = [(_read(device / name) or "").removeprefix("0x") for name in ("vendor", "device")]
        found.append(OtherGpu(maker, ":".join(numbers) if all(numbers) else None, size))
    return tuple(found)


# Memory and cores


def total_memory(root: Path = Path("/")) -> int | None:
    """Bytes of memory in all, no more than the control group allows; in microseconds."""
    return _memory(root)[0]


def _memory(root: Path) -> tuple[int | None, int | None]:
    """Total and available bytes: the machine's, and no more than the control group allows."""
    try:
        machine = psutil.virtual_memory()
    except (OSError, RuntimeError):
        return None, None
    total, available = int(machine.total), int(machine.available)
    for limit, used in _memory_limits(root):
        total = min(total, limit)
        available = min(available, max(0, limit - used))
    return total, available


def _memory_limits(root: Path) -> list[tuple[int, int]]:
    """(limit, bytes in use that cannot be dropped) of each control group around this process."""
    found: list[tuple[int, int]] = []
    for folder in _cgroup_folders(root, "memory"):
        limit = _number(_read(folder / "memory.max") or _read(folder / "memory.limit_in_bytes"))
        used = _number(_read(folder / "memory.current") or _read(folder / "memory.usage_in_bytes"))
        if limit is None or limit >= _UNLIMITED:
            continue
        # The page cache of files (a model just read) counts as used and gives way.
        cache = 0
        for line in (_read(folder / "memory.stat") or "").splitlines():
            name, _, value = line.partition(" ")
            if name in {"inactive_file", "active_file"}:
                cache += _number(value) or 0
        found.append((limit, max(0, (used or 0) - cache)))
    return found


def cpu_seconds(pid: int) -> float | None:
    """Seconds of processor time that process ``pid`` has used; ``None`` if it can't be asked."""
    try:
        times = psutil.Process(pid).cpu_times()
    except (psutil.Error, OSError):
        return None
    return float(times.user + times.system)


def private_bytes(pid: int) -> int | None:
    """Bytes of memory that process ``pid`` has for itself: not the pages of files that it maps,
    which count as available to others. ``None`` where the system does not tell (not Linux)."""
    try:
        memory = psutil.Process(pid).memory_info()
    except (psutil.Error, OSError):
        return None
    shared = getattr(memory, "shared", None)
    return None if shared is None else max(0, int(memory.rss) - int(shared))


def busy_seconds() -> float | None:
    """Seconds of processor time that this machine's cores have been at work, all together, since
    some fixed moment; ``None`` if it can't be asked."""
    try:
        times = psutil.cpu_times()
    except (psutil.Error, OSError):
        return None
    # Linux counts a guest's time twice: as its own and as the user's.
    at_rest = ("idle", "iowait", "guest", "guest_nice")
    return float(sum(value for name, value in times._asdict().items() if name not in at_rest))


def _threads(root: Path) -> int | None:
    physical = psutil.cpu_count(logical=False) or psutil.cpu_count(logical=True)
    bounds = [] if physical is None else [physical]
    with contextlib.suppress(AttributeError, OSError):  # not Linux
        bounds.append(len(os.sched_getaffinity(0)))
    for folder in _cgroup_folders(root, "cpu"):
        quota, _, period = (_read(folder / "cpu.max") or "").partition(" ")
        if quota.isdecimal() and period.isdecimal() and int(period):
            bounds.append(max(1, math.ceil(int(quota) / int(period))))
    return min(bounds, default=None)


def _cgroup_folders(root: Path, controller: str) -> list[Path]:
    """The control group's folder and those around it, of version 2 and of version 1."""
    folders: list[Path] = []
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        parts = line.split(":", 2)
        if len(parts) != 3 or (parts[1] and controller not in parts[1].split(",")):
            continue
        base = root / "sys/fs/cgroup" / (controller if parts[1] else "")
        inner = base / parts[2].lstrip("/")
        around = [inner, *(p for p in inner.parents if p == base or base in p.parents)]
        folders += [folder for folder in around if folder not in folders]
    return folders


def _cpu_name(root: Path) -> str | None:
    for line in (_read(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip() or None
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


# Speeds, measured when somebody asks for them


def measure_memory_speed(
    threads: int = 1, *, clock: Callable[[], float] = time.perf_counter
) -> float | None:
    """Bytes per second that ``threads`` threads move through memory (read and written) together.

    Takes :data:`COPY_SECONDS`, and as long again to fill 64 MiB per thread. ``None`` if the memory
    cannot be had.
    """
    try:
        # Filled: pages that nobody has written to are all the same page, which lies in the cache.
        pairs = [(_filled(_BLOCK), _filled(_BLOCK)) for _ in range(max(1, threads))]
    except MemoryError:
        return None
    moved = [0] * len(pairs)
    started = clock()
    stop = started + COPY_SECONDS

    def copy(number: int) -> None:
        # ctypes lets other threads run during a call, so the copies go side by side.
        target, source = ((ctypes.c_char * _BLOCK).from_buffer(half) for half in pairs[number])
        while True:  # once at least: on a busy machine the time may be over before it begins
            ctypes.memmove(target, source, _BLOCK)
            moved[number] += 2 * _BLOCK
            if clock() >= stop:
                break

    workers = [threading.Thread(target=copy, args=(n,)) for n in range(len(pairs))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    elapsed = clock() - started
    return sum(moved) / elapsed if elapsed > 0 and any(moved) else None


def _filled(size: int) -> bytearray:
    return bytearray(b"\x01") * size


def measure_read_speed(
    path: Path, *, clock: Callable[[], float] = time.perf_counter
) -> float | None:
    """Bytes per second at which ``path`` is read now: from the disk, or from memory if it is there.

    Reads up to :data:`READ_SAMPLE` bytes in the middle, for :data:`READ_SECONDS` at most.
    """
    try:
        with path.open("rb", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, (size - READ_SAMPLE) // 2))
            started, read = clock(), 0
            while read < READ_SAMPLE and clock() - started < READ_SECONDS:
                chunk = file.read(4 * MIB)
                if not chunk:
                    break
                read += len(chunk)
            elapsed = clock() - started
    except OSError:
        return None
    return read / elapsed if read and elapsed > 0 else None
