"""Checks of the machine: GPU, memory, disks, what kind of paths. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.errors import FitError
from local_ai_suite.fit import FitRequest, plan

from .check import Check, failure, ok, warning

if TYPE_CHECKING:
    from local_ai_suite.engine.catalog import ModelEntry
    from local_ai_suite.hardware import Gpu, Hardware

    from .facts import Facts, Folder

MIB, GIB = 1 << 20, 1 << 30
# What a Windows drive gives to WSL2 (WSL#4197: 90 to 250 MB/s), bytes a second, at best.
_WINDOWS_DRIVE_SPEED = 250e6
# Below this nothing else on the machine works well either.
_LEAST_MEMORY = 1 * GIB
_LEAST_STATE_DISK = 100 * MIB  # logs, the run file, the ledger
_ROOM_FOR_A_MODEL = 2_500_000_000  # the recommended 3B model and what surrounds it

_DRIVER_WSL = (
    "Install or update NVIDIA's driver in Windows (never inside WSL), then run `wsl --shutdown` "
    "in Windows. `wsl --update` brings an old WSL to GPU support."
)
_DRIVER_LINUX = "Install your distribution's NVIDIA driver (package nvidia-driver), then reboot."


def gpus(facts: Facts) -> tuple[Gpu, ...]:
    """The GPUs that the settings let the engine use."""
    if facts.hardware is None:
        return ()
    chosen = facts.settings.cuda_visible_devices if facts.settings else None
    return facts.hardware.visible(chosen)


def check_gpu(facts: Facts) -> Check:
    """A missing GPU is never a failure: the CPU does the work."""
    hardware, settings = facts.hardware, facts.settings
    if hardware is None:
        return warning("gpu", "the hardware was not looked at", "Run `lais doctor` again.")
    chosen = settings.cuda_visible_devices if settings else None
    if hardware.gpus and chosen == "":
        return ok("gpu", "CUDA_VISIBLE_DEVICES is empty: the CPU does the work, as wanted")
    if found := gpus(facts):
        return ok(
            "gpu",
            "; ".join(_describe(gpu) for gpu in found),
            gpus=[{"index": g.index, "name": g.name, "total_bytes": g.total_bytes,
                   "free_bytes": g.free_bytes, "driver": g.driver} for g in found],
        )  # fmt: skip
    if hardware.gpus:
        names = ", ".join(str(gpu.index) for gpu in hardware.gpus)
        return warning(
            "gpu",
            f"CUDA_VISIBLE_DEVICES={chosen} names no GPU of this machine (there are: {names}); "
            "the CPU does the work",
            "Correct CUDA_VISIBLE_DEVICES in .env, or remove it.",
        )
    return _no_gpu(facts, hardware)


def _no_gpu(facts: Facts, hardware: Hardware) -> Check:
    remedy = _DRIVER_WSL if hardware.is_wsl else _DRIVER_LINUX
    layers = facts.settings.n_gpu_layers if facts.settings else None
    wish = f"; N_GPU_LAYERS={layers} has no effect" if layers else ""
    if hardware.gpu_problem:
        return warning(
            "gpu",
            f"no GPU can be used ({hardware.gpu_problem}); the CPU does the work{wish}",
            remedy,
        )
    if facts.nvidia_on_bus:
        return warning(
            "gpu",
            "an NVIDIA card is in this machine, and its driver is not (no nvidia-smi); the CPU "
            f"does the work{wish}",
            remedy,
        )
    remedy = f"If there is one: {remedy}" if not hardware.is_wsl else remedy
    return warning("gpu", f"no NVIDIA GPU was found; the CPU does the work{wish}", remedy)


def check_memory(facts: Facts) -> Check:
    hardware = facts.hardware
    available = hardware.memory_available_bytes if hardware else None
    total = hardware.memory_total_bytes if hardware else None
    if available is None or total is None:
        return warning("memory", "the free memory is unknown", "Look at `free -h`.")
    words = f"{available / GIB:.1f} GiB of {total / GIB:.1f} GiB are free"
    details = {"available_bytes": available, "total_bytes": total}
    if available < _LEAST_MEMORY:
        remedy = "Close programs"
        if hardware and hardware.is_wsl:
            remedy += ", or give WSL more memory: [wsl2] memory=12GB in %UserProfile%\\.wslconfig"
        return warning("memory", words, f"{remedy}.", **details)
    return ok("memory", words, **details)


def check_fit(facts: Facts) -> list[Check]:
    """Whether the chat model fits, by the same plan that loads it."""
    if facts.catalog is None or facts.hardware is None or facts.settings is None:
        return []
    if any(port.ours for port in facts.ports):
        return []  # it is loaded: what is free now is what is left beside it
    entry = facts.catalog.default
    try:
        request = fit_request(facts, entry, facts.hardware)
        found = plan(request)
    except FitError as exc:
        return [failure("fit", exc.message, exc.hint)]
    if any(device.free_bytes is None for device in found.devices):
        return []
    words = f"{entry.name} ({entry.path.name})"
    details = {"model": entry.name, "n_gpu_layers": found.n_gpu_layers, "ctx_size": found.ctx_size}
    if found.fits:
        layers = f"{found.n_gpu_layers} of {found.gpu_layers_max} layers on the GPU"
        where = layers if found.n_gpu_layers else "on the CPU"
        return [ok("fit", f"{words} fits: {where}, {found.ctx_size} tokens of context", **details)]
    message = f"{words} does not fit the free memory: {'; '.join(found.warnings) or 'too large'}"
    remedy = (
        "Free memory, take a smaller model (`lais models recommended`) or a smaller CTX_SIZE; "
        "ON_MISFIT=warn tries it anyway."
    )
    grade = failure if facts.settings.on_misfit == "fail" else warning
    return [grade("fit", message, remedy, **details)]


def fit_request(facts: Facts, entry: ModelEntry, hardware: Hardware) -> FitRequest:
    """What the plan is asked, with the settings that a person has decided."""
    settings, own, engine = facts.settings, entry.overrides, facts.engine
    assert settings is not None  # noqa: S101 (the caller has looked)
    cache_k = None if settings.cache_type_k == "auto" else settings.cache_type_k
    cache_v = None if settings.cache_type_v == "auto" else settings.cache_type_v
    return FitRequest(
        model=entry.file,
        hardware=hardware,
        purpose="embed" if entry.embeds else ("code" if entry.kind == "code" else "chat"),
        n_gpu_layers=settings.n_gpu_layers,
        ctx_size=own.ctx_size or settings.ctx_size,
        parallel=own.parallel or settings.parallel,
        cache_type_k=cache_k,
        cache_type_v=cache_v,
        threads=settings.threads,
        cuda_visible_devices=settings.cuda_visible_devices,
        engine_has_gpu=engine is None or engine.gpu is not False,
    )


def check_disk(facts: Facts) -> list[Check]:
    found: list[Check] = []
    if facts.state is not None and facts.state.free_bytes is not None:
        free = facts.state.free_bytes
        words = f"{free / 1e9:.1f} GB are free for logs and state ({facts.state.path})"
        if free < _LEAST_STATE_DISK:
            found.append(failure("disk", words, "Make room there.", free_bytes=free))
        else:
            found.append(ok("disk", words, free_bytes=free))
    if facts.models is not None and facts.models.free_bytes is not None:
        free = facts.models.free_bytes
        if free < _ROOM_FOR_A_MODEL:
            found.append(
                warning(
                    "disk",
                    f"{free / 1e9:.1f} GB are free for models ({facts.models.path})",
                    "`lais models rm` removes one; MODELS_DIR in .env can lie on another disk.",
                    free_bytes=free,
                )
            )
    return found


def check_paths(facts: Facts) -> list[Check]:
    """WSL2's Windows drives and network shares: slow, and without file modes or locks."""
    found: list[Check] = []
    wsl = "WSL2" if facts.hardware and facts.hardware.is_wsl else None
    if facts.models is not None and facts.models.kind == "windows_drive":
        found.append(_models_on_windows(facts, facts.models))
    elif facts.models is not None and facts.models.kind == "network":
        found.append(
            warning(
                "paths",
                f"the models lie on a network share ({facts.models.path}): loading takes as long "
                "as the network needs",
                "Copy them to a disk of this machine and set MODELS_DIR in .env.",
            )
        )
    if facts.project is not None and facts.project.kind == "windows_drive":
        state = facts.state.path if facts.state else facts.paths.state
        found.append(
            warning(
                "paths",
                f"the project lies on a Windows drive ({facts.project.path}), where no file is "
                f"private and locks don't hold: state goes to {state}, and .env can be read by "
                "every user of Windows",
                "Clone the project on the Linux side instead, for example into ~/local-ai-suite.",
            )
        )
    if facts.state is not None and facts.state.kind in {"windows_drive", "network"}:
        found.append(
            warning(
                "paths",
                f"the state lies on a {facts.state.kind.replace('_', ' ')} ({facts.state.path}): "
                "private file modes and the ledger's locks can't be trusted there",
                "Set LAIS_STATE to a folder on a disk of this machine.",
            )
        )
    if facts.state is not None and not facts.state.writable:
        found.append(
            failure(
                "paths",
                f"{facts.state.path} cannot be written to",
                "Give your user the folder: chown -R $USER, or set LAIS_STATE to another place.",
            )
        )
    where = f"{wsl}, all on the Linux side" if wsl else "project, models and state on local disks"
    return found or [ok("paths", where)]


def _models_on_windows(facts: Facts, models: Folder) -> Check:
    seconds = ""
    if facts.catalog is not None and not facts.catalog.default.is_demo:
        size = facts.catalog.default.file.size_bytes
        seconds = f" (about {size / _WINDOWS_DRIVE_SPEED:.0f} s or more for {size / 1e9:.1f} GB)"
    return warning(
        "paths",
        f"the models lie on a Windows drive ({models.path}): WSL2 reads it several times slower "
        f"than its own disk{seconds}",
        "Copy them to the Linux side, for example ~/models, and set MODELS_DIR in .env.",
    )


def _describe(gpu: Gpu) -> str:
    memory = ""
    if gpu.total_bytes is not None and gpu.free_bytes is not None:
        memory = f", {gpu.free_bytes // MIB} of {gpu.total_bytes // MIB} MiB free"
    driver = f", driver {gpu.driver}" if gpu.driver else ""
    return f"{gpu.name}{memory}{driver}"
