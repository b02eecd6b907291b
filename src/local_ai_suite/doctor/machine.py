"""Checks of the machine: GPU, memory, disks, what kind of paths. Pure."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from local_ai_suite.engine.placement import FitPlanner, capacity
from local_ai_suite.engines.find import free_on_devices
from local_ai_suite.errors import FitError
from local_ai_suite.fit import correction, free_for_engine
from local_ai_suite.messages import joined, tr

from .check import Check, failure, ok, warning

if TYPE_CHECKING:
    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.engine.pace import Speed
    from local_ai_suite.hardware import Gpu, Hardware
    from local_ai_suite.settings import Settings

    from .snapshot import Folder, Snapshot

MIB, GIB = 1 << 20, 1 << 30
_ROLES = frozenset({"local-chat", "local-code", "local-embed"})
# What a Windows drive gives to WSL2 (WSL#4197: 90 to 250 MB/s), bytes a second, at best.
_WINDOWS_DRIVE_SPEED = 250e6
# Below this nothing else on the machine works well either.
_LEAST_MEMORY = 1 * GIB
_LEAST_STATE_DISK = 100 * MIB  # logs, the run file, the ledger
_ROOM_FOR_A_MODEL = 2_500_000_000  # the recommended 3B model and what surrounds it

_DRIVER_WSL = tr(
    "Install or update NVIDIA's driver in Windows (never inside WSL), then run "
    "`wsl --shutdown` in Windows. `wsl --update` brings an old WSL to GPU "
    "support."
)
_DRIVER_LINUX = tr(
    "Install your distribution's NVIDIA driver (package nvidia-driver), then reboot."
)


def on_wsl(facts: Snapshot) -> bool:
    """Whether this is Windows' Linux; ``False`` also when nobody knows."""
    return facts.hardware is not None and facts.hardware.is_wsl


def gpus(facts: Snapshot) -> tuple[Gpu, ...]:
    """The GPUs that the settings let the engine use."""
    if facts.hardware is None:
        return ()
    chosen = facts.settings.cuda_visible_devices if facts.settings else None
    return facts.hardware.visible(chosen)


def check_gpu(facts: Snapshot) -> Check:
    """A missing GPU is never a failure: the CPU does the work."""
    hardware, settings = facts.hardware, facts.settings
    if hardware is None:
        return warning("gpu", tr("the hardware was not looked at"), tr("Run `lais doctor` again."))
    chosen = settings.cuda_visible_devices if settings else None
    if hardware.gpus and chosen == "":
        return ok("gpu", tr("CUDA_VISIBLE_DEVICES is empty: the CPU does the work, as wanted"))
    if found := gpus(facts):
        return ok(
            "gpu",
            joined("; ", (_describe(gpu) for gpu in found)),
            gpus=[{"index": g.index, "name": g.name, "total_bytes": g.total_bytes,
                   "free_bytes": g.free_bytes, "driver": g.driver} for g in found],
        )  # fmt: skip
    if hardware.gpus:
        names = ", ".join(str(gpu.index) for gpu in hardware.gpus)
        return warning(
            "gpu",
            tr(
                "CUDA_VISIBLE_DEVICES={chosen} names no GPU of this machine (there are: "
                "{names}); the CPU does the work",
                chosen=chosen,
                names=names,
            ),
            tr("Correct CUDA_VISIBLE_DEVICES in .env, or remove it."),
        )
    return _no_gpu(facts, hardware)


def _no_gpu(facts: Snapshot, hardware: Hardware) -> Check:
    remedy = _DRIVER_WSL if hardware.is_wsl else _DRIVER_LINUX
    layers = facts.settings.n_gpu_layers if facts.settings else None
    wish = tr("; N_GPU_LAYERS={layers} has no effect", layers=layers) if layers else ""
    if hardware.gpu_problem:
        return warning(
            "gpu",
            tr(
                "no GPU can be used ({problem}); the CPU does the work{wish}",
                problem=hardware.gpu_problem,
                wish=wish,
            ),
            remedy,
        )
    if facts.nvidia_on_bus:
        return warning(
            "gpu",
            tr(
                "an NVIDIA card is in this machine, and its driver is not (no nvidia-smi); "
                "the CPU does the work{wish}",
                wish=wish,
            ),
            remedy,
        )
    if hardware.other_gpus:
        names = joined(", ", (gpu.describe() for gpu in hardware.other_gpus))
        told = tr(
            "{names}: only NVIDIA's GPUs are planned for as yet; the CPU does the work{wish}",
            names=names,
            wish=wish,
        )
        if layers == 0:
            return ok("gpu", told)
        return warning(
            "gpu", told, tr("Nothing to do; N_GPU_LAYERS=0 in .env says that it is known.")
        )
    remedy = tr("If there is one: {remedy}", remedy=remedy) if not hardware.is_wsl else remedy
    return warning(
        "gpu", tr("no NVIDIA GPU was found; the CPU does the work{wish}", wish=wish), remedy
    )


def check_memory(facts: Snapshot) -> Check:
    hardware = facts.hardware
    available = hardware.memory_available_bytes if hardware else None
    total = hardware.memory_total_bytes if hardware else None
    if available is None or total is None:
        return warning("memory", tr("the free memory is unknown"), tr("Look at `free -h`."))
    words = tr(
        "{available:.1f} GiB of {total:.1f} GiB are free",
        available=available / GIB,
        total=total / GIB,
    )
    details = {"available_bytes": available, "total_bytes": total}
    if available < _LEAST_MEMORY:
        remedy: str = tr("Close programs.")
        if hardware and hardware.is_wsl:
            remedy = tr(
                "Close programs, or give WSL more memory: [wsl2] memory=12GB in "
                "%UserProfile%\\.wslconfig."
            )
        return warning("memory", words, remedy, **details)
    return ok("memory", words, **details)


def check_fit(facts: Snapshot) -> list[Check]:
    """Whether the models with a role fit, by the very planner that loads them.

    Each is planned alone, as the pool does when it must: others leave the memory then.
    """
    if facts.catalog is None or facts.hardware is None or facts.settings is None:
        return []
    unknown = facts.hardware.memory_available_bytes is None or any(
        gpu.free_bytes is None for gpu in gpus(facts)
    )
    if unknown or any(port.ours for port in facts.ports):
        return []  # loaded already: what is free now is what is left beside them
    roles = [entry for entry in facts.catalog.entries if set(entry.names) & _ROLES]
    return [_fit_of(entry, facts, facts.settings, facts.hardware) for entry in roles]


def _fit_of(entry: ModelEntry, facts: Snapshot, settings: Settings, hardware: Hardware) -> Check:
    has_gpu = facts.engine is None or facts.engine.gpu is not False
    if has_gpu:
        seen = free_on_devices(facts.engine.devices) if facts.engine else {}
        hardware = free_for_engine(hardware, seen, settings.cuda_visible_devices)
    planner = FitPlanner(
        settings, hardware, has_gpu, lessons=facts.lessons, memory_speed=facts.memory_speed
    )
    room = capacity(hardware, settings, engine_has_gpu=has_gpu)
    words = f"{entry.name} ({entry.path.name})"
    try:
        found = planner(entry, room, {}, {}).fit
    except FitError as exc:
        # Only the chat model is loaded by `up`; another one answers 503 when it is asked for.
        grade = failure if entry is facts.catalog_default else warning
        return grade(
            "fit",
            tr("{words}: {message}", words=words, message=exc.message),
            tr("Free memory, or take a smaller model: `lais models recommended`."),
            model=entry.name,
        )
    details = {"model": entry.name, "n_gpu_layers": found.n_gpu_layers, "ctx_size": found.ctx_size}
    if found.fits:
        layers = tr(
            "{layers} of {all} layers on the GPU",
            layers=found.n_gpu_layers,
            all=found.gpu_layers_max,
        )
        where = layers if found.n_gpu_layers else tr("on the CPU")
        speed = found.tokens_per_second
        rate = tr(", {speed:.0f} tokens/s expected", speed=speed) if speed else ""
        told = tr(
            "{words} fits: {where}, {ctx_size} tokens of context{rate}",
            words=words,
            where=where,
            ctx_size=found.ctx_size,
            rate=rate,
        )
        return ok("fit", told, **details, tokens_per_second=speed)
    return warning(
        "fit",
        tr(
            "{words} with N_GPU_LAYERS and CTX_SIZE as they are set needs more memory "
            "than is free ({warnings}); it is tried all the same",
            words=words,
            warnings=joined("; ", found.warnings),
        ),
        tr("Set them to auto, or lower."),
        **details,
    )


def check_projections(facts: Snapshot) -> list[Check]:
    """Each model's last load, predicted against actual: the bytes that the engine's log names."""
    found = []
    for name, parts in facts.loads.items():
        projected = sum(part.projected for part in parts) / MIB
        actual = sum(part.actual for part in parts) / MIB
        words = tr(
            "{name}: {projected:.0f} MiB projected, {actual:.0f} MiB taken when last loaded",
            name=name,
            projected=projected,
            actual=actual,
        )
        off = [part for part in parts if not part.as_projected]
        details = {
            "model": name,
            "parts": [
                {"device": p.device, "part": p.part, "projected": p.projected, "actual": p.actual}
                for p in parts
            ],
        }
        if not off:
            found.append(ok("projection", words, **details))
            continue
        missed = ", ".join(f"{p.part} on {p.device} {p.difference / MIB:+.0f} MiB" for p in off)
        wider = _wider(name, facts)
        remedy = (
            tr("The margin is {size:.0f} MiB wider for it.", size=wider / MIB)
            if wider
            else tr("Nothing to do: it took less, or hardly more.")
        )
        found.append(
            warning(
                "projection",
                tr("{words} ({missed})", words=words, missed=missed),
                remedy,
                **details,
            )
        )
    return [*found, *(_check_speed(name, speed) for name, speed in facts.speeds.items())]


def _wider(name: str, facts: Snapshot) -> int:
    """Bytes that the margin of the model ``name`` is wider than usual."""
    entry = facts.catalog.get(name) if facts.catalog is not None else None
    return 0 if entry is None else correction(facts.lessons, entry.path.name)


def _check_speed(name: str, speed: Speed) -> Check:
    """What was generated when last looked, against what this machine lets expect."""
    details = {"model": name, **asdict(speed)}
    words = tr(
        "{name}: {measured:.1f} tokens/s generated when last looked",
        name=name,
        measured=speed.measured,
    )
    if speed.expected is not None:
        words += tr(", {expected:.1f} expected", expected=speed.expected)
    if not speed.samples:
        words += tr(" (beside other work, so it says little)")
    if not speed.is_slow:
        return ok("speed", words, **details)
    remedy = tr(
        "Look for other programs that use the processor or the GPU, a laptop on "
        "battery, memory that was swapped out."
    )
    return warning("speed", words, remedy, **details)


def check_disk(facts: Snapshot) -> list[Check]:
    found: list[Check] = []
    if facts.state is not None and facts.state.free_bytes is not None:
        free = facts.state.free_bytes
        words = tr(
            "{free:.1f} GB are free for logs and state ({path})",
            free=free / 1e9,
            path=facts.state.path,
        )
        if free < _LEAST_STATE_DISK:
            found.append(failure("disk", words, tr("Make room there."), free_bytes=free))
        else:
            found.append(ok("disk", words, free_bytes=free))
    if facts.models is not None and facts.models.free_bytes is not None:
        free = facts.models.free_bytes
        if free < _ROOM_FOR_A_MODEL:
            found.append(
                warning(
                    "disk",
                    tr(
                        "{free:.1f} GB are free for models ({path})",
                        free=free / 1e9,
                        path=facts.models.path,
                    ),
                    tr("`lais models rm` removes one; MODELS_DIR in .env can lie on another disk."),
                    free_bytes=free,
                )
            )
    return found


def check_paths(facts: Snapshot) -> list[Check]:
    """WSL2's Windows drives and network shares: slow, and without file modes or locks."""
    found: list[Check] = []
    wsl = "WSL2" if facts.hardware and facts.hardware.is_wsl else None
    if facts.models is not None and facts.models.kind == "windows_drive":
        found.append(_models_on_windows(facts, facts.models))
    elif facts.models is not None and facts.models.kind == "network":
        found.append(
            warning(
                "paths",
                tr(
                    "the models lie on a network share ({path}): loading takes as long as the "
                    "network needs",
                    path=facts.models.path,
                ),
                tr("Copy them to a disk of this machine and set MODELS_DIR in .env."),
            )
        )
    if facts.project is not None and facts.project.kind == "windows_drive":
        state = facts.state.path if facts.state else facts.paths.state
        found.append(
            warning(
                "paths",
                tr(
                    "the project lies on a Windows drive ({path}), where no file is private and "
                    "locks don't hold: state goes to {state}, and .env can be read by every user "
                    "of Windows",
                    path=facts.project.path,
                    state=state,
                ),
                tr(
                    "Clone the project on the Linux side instead, for example into "
                    "~/local-ai-suite."
                ),
            )
        )
    if facts.state is not None and facts.state.kind in {"windows_drive", "network"}:
        found.append(
            warning(
                "paths",
                tr(
                    "the state lies on a {kind} ({path}): private file modes and the ledger's "
                    "locks can't be trusted there",
                    kind=facts.state.kind.replace("_", " "),
                    path=facts.state.path,
                ),
                tr("Set LAIS_STATE to a folder on a disk of this machine."),
            )
        )
    if facts.state is not None and not facts.state.writable:
        found.append(
            failure(
                "paths",
                tr("{path} cannot be written to", path=facts.state.path),
                tr(
                    "Give your user the folder: chown -R $USER, or set LAIS_STATE to another place."
                ),
            )
        )
    where = (
        tr("{wsl}, all on the Linux side", wsl=wsl)
        if wsl
        else tr("project, models and state on local disks")
    )
    return found or [ok("paths", where)]


def _models_on_windows(facts: Snapshot, models: Folder) -> Check:
    seconds = ""
    if facts.catalog is not None and not facts.catalog.default.is_demo:
        size = facts.catalog.default.file.size_bytes
        seconds = tr(
            " (about {seconds:.0f} s or more for {size:.1f} GB)",
            seconds=size / _WINDOWS_DRIVE_SPEED,
            size=size / 1e9,
        )
    return warning(
        "paths",
        tr(
            "the models lie on a Windows drive ({path}): WSL2 reads it several times "
            "slower than its own disk{seconds}",
            path=models.path,
            seconds=seconds,
        ),
        tr("Copy them to the Linux side, for example ~/models, and set MODELS_DIR in .env."),
    )


def _describe(gpu: Gpu) -> str:
    memory = ""
    if gpu.total_bytes is not None and gpu.free_bytes is not None:
        memory = tr(
            ", {free} of {total} MiB free",
            free=gpu.free_bytes // MIB,
            total=gpu.total_bytes // MIB,
        )
    driver = tr(", driver {driver}", driver=gpu.driver) if gpu.driver else ""
    return joined("", (gpu.name, memory, driver))
