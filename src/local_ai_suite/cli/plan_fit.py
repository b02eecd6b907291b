"""``lais plan-fit``: what fits, before anything is loaded."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from local_ai_suite import fit
from local_ai_suite.cli.model_files import find_model
from local_ai_suite.cli.output import json_option, show
from local_ai_suite.engine.bandwidth import MemorySpeed
from local_ai_suite.engines.find import FoundEngine, find_engine, free_on_devices
from local_ai_suite.errors import EngineNotFound, UsageError
from local_ai_suite.gguf import read_gguf
from local_ai_suite.hardware import Hardware, detect, measure_read_speed
from local_ai_suite.messages import joined, tr
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import Settings, load_settings

if TYPE_CHECKING:
    from local_ai_suite.paths import Paths

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(g|gb|gib|m|mb|mib)?", re.IGNORECASE)


@click.command("plan-fit")
@click.argument("model")
@click.option("--ctx", type=click.IntRange(1, 16_777_216), help="Tokens of context that you need.")
@click.option("--vram", help="Plan for a card with this much memory, such as 6GiB.")
@click.option("--gpu", help='Plan for this card, such as "rtx 4050".')
@click.option("--mmproj", help="A vision projector to load with it.")
@click.option("--parallel", type=click.IntRange(1, 4096), help="Slots.")
@json_option
def plan_fit_command(
    model: str,
    ctx: int | None,
    vram: str | None,
    gpu: str | None,
    mmproj: str | None,
    parallel: int | None,
    as_json: bool,
) -> int:
    """What of MODEL (a GGUF file, or its name in the models folder) fits where, and why.

    Settings of .env (N_GPU_LAYERS, CTX_SIZE, ...) are kept as they are. With --ctx, the ways to
    have that much context and their prices are listed, too.
    """
    paths = find_paths()
    settings = load_settings(paths)
    path = find_model(model, settings, paths)
    hardware = detect()
    notes: list[str] = []
    is_imagined = bool(vram or gpu)
    if is_imagined:
        hardware = _imagine(hardware, vram, gpu)
        notes.append(tr("planned for a graphics card that isn't here; its speed is from a table"))
    elif hardware.other_gpus and not hardware.gpus:
        names = joined(", ", (card.describe() for card in hardware.other_gpus))
        notes.append(
            tr(
                "{names}: only NVIDIA's GPUs are planned for as yet, so this is for the CPU",
                names=names,
            )
        )
    has_gpu = True
    if not is_imagined:
        engine = _engine(settings, paths, notes)
        has_gpu = engine is None or engine.gpu is not False
        seen = free_on_devices(engine.devices) if engine else {}
        if has_gpu:
            hardware = fit.free_for_engine(hardware, seen, settings.cuda_visible_devices)
    file = read_gguf(path)
    request = fit.FitRequest(
        model=file,
        hardware=hardware,
        purpose="embed" if file.is_embedding else "chat",
        projector=read_gguf(find_model(mmproj, settings, paths)) if mmproj else None,
        n_gpu_layers=settings.n_gpu_layers,
        ctx_size=ctx or settings.ctx_size,
        parallel=parallel or settings.parallel,
        cache_type_k=_unless_auto(settings.cache_type_k),
        cache_type_v=_unless_auto(settings.cache_type_v),
        threads=settings.threads,
        cuda_visible_devices=None if is_imagined else settings.cuda_visible_devices,
        engine_has_gpu=has_gpu,
        disk_speed=measure_read_speed(path),
        memory_speed=MemorySpeed(paths.state, hardware).look(),
    )
    plan = fit.plan(request)
    ways = fit.options(request, ctx) if ctx else ()
    text = fit.plan_text(plan)
    if ctx:
        text += "\n\n" + fit.options_text(ways, ctx)
    data = {
        "plan": plan.as_dict(),
        "options": [
            {"words": way.words, "price": way.price, "plan": way.plan.as_dict()} for way in ways
        ],
    }
    code = 0 if plan.fits else 1
    return show(Result("plan-fit", text, data, tuple(notes), code), as_json=as_json)


command = plan_fit_command


def _imagine(hardware: Hardware, vram: str | None, gpu: str | None) -> Hardware:
    size = None if vram is None else _bytes(vram)
    try:
        return fit.imagined(hardware, vram_bytes=size, gpu_name=gpu)
    except ValueError as exc:
        raise UsageError(
            tr("--gpu {gpu!r} is not a card that is known here", gpu=gpu),
            hint=tr("Give its memory, too: --vram 6GiB."),
        ) from exc


def _bytes(text: str) -> int:
    match = _SIZE.fullmatch(text.strip())
    size = 0
    if match:
        unit = (match[2] or "g").lower()
        size = int(float(match[1]) * (fit.GIB if unit.startswith("g") else fit.MIB))
    if not match or size <= 0:
        raise UsageError(
            tr("--vram {text!r} is no size", text=text), hint=tr("Write it like 6GiB or 6144MiB.")
        )
    return size


def _engine(settings: Settings, paths: Paths, notes: list[str]) -> FoundEngine | None:
    """The engine that would run. Where it is unknown whether it can use a GPU, that is said."""
    try:
        engine = find_engine(settings, paths)
    except EngineNotFound as exc:
        notes.append(
            tr(
                "no engine was found ({message}); planned as if it could use a GPU",
                message=exc.message,
            )
        )
        return None
    if engine.gpu is None:
        notes.append(tr("the engine does not say whether it can use a GPU; planned as if it could"))
    return engine


def _unless_auto(value: str) -> str | None:
    return None if value == "auto" else value
