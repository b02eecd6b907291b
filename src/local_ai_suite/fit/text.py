"""A plan as a table with a memory bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from local_ai_suite.messages import counted, say, tr, translated
from local_ai_suite.messages.width import ljust

from .reasons import size_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .plan import DevicePlan, FitPlan
    from .wanted import Option

BAR = 40
# One letter per part, so that the bar reads without colour.
_LETTERS = (
    ("weights", "W"), ("kv_cache", "K"), ("compute", "C"), ("projector", "P"), ("overhead", "R"),
)  # fmt: skip
_NAMES = {
    "weights": tr("weights"),
    "kv_cache": tr("KV cache"),
    "compute": tr("compute buffers"),
    "projector": tr("projector"),
    "overhead": tr("runtime"),
}


def plan_text(plan: FitPlan) -> str:
    """What ``lais plan-fit`` prints."""
    lines = [
        f"{plan.model} ({plan.architecture}): {say('fits') if plan.fits else say('DOES NOT FIT')}",
        "",
        *(f"  {ljust(name, 15)} {value}" for name, value in _settings(plan)),
    ]
    for device in plan.devices:
        lines += ["", *_device(device)]
    lines += ["", *(f"  - {translated(reason)}" for reason in plan.reasons)]
    lines += [f"  ! {translated(warning)}" for warning in plan.warnings]
    return "\n".join(lines)


def _settings(plan: FitPlan) -> list[tuple[str, str]]:
    layers = say(
        "{layers} of {all} on the GPU",
        layers=plan.n_gpu_layers,
        all=plan.gpu_layers_max,
    )
    if plan.n_cpu_moe:
        layers += say(", experts of {layers} layers in system memory", layers=plan.n_cpu_moe)
    slots = translated(counted("{count} slot", "{count} slots", plan.parallel))
    cache = f"{plan.cache_type_k}/{plan.cache_type_v}"
    rows = [
        (say("layers"), layers),
        (
            say("context"),
            say("{ctx_size} tokens per slot, {slots}", ctx_size=plan.ctx_size, slots=slots),
        ),
        (
            say("cache"),
            say(
                "{cache}, flash attention {flash_attention}",
                cache=cache,
                flash_attention=plan.flash_attention,
            ),
        ),
    ]
    if plan.tokens_per_second is not None:
        rows.append(
            (
                say("speed"),
                say("about {speed} tokens/s expected", speed=_speed(plan.tokens_per_second)),
            )
        )
    if plan.load_seconds is not None:
        rows.append((say("loading"), say("about {seconds:.0f} s", seconds=plan.load_seconds)))
    return rows


def _speed(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _device(device: DevicePlan) -> list[str]:
    free = say("unknown") if device.free_bytes is None else size_text(device.free_bytes)
    total = (
        "" if device.total_bytes is None else say(" of {size}", size=size_text(device.total_bytes))
    )
    lines = [
        say(
            "{name}  {description}: {free}{total} free",
            name=device.name,
            description=device.description,
            free=free,
            total=total,
        )
    ]
    if device.free_bytes:
        lines.append(f"  [{bar(device)}]")
    for name, letter in _LETTERS:
        size = getattr(device.parts, name)
        if size:
            lines.append(f"  {letter} {ljust(translated(_NAMES[name]), 16)} {size_text(size):>10}")
    lines.append(f"  . {ljust(say('margin'), 16)} {size_text(device.margin_bytes):>10}")
    if device.headroom is not None:
        word = say("left") if device.headroom >= 0 else say("missing")
        lines.append(f"    {ljust(word, 16)} {size_text(abs(device.headroom)):>10}")
    return lines


def bar(device: DevicePlan, width: int = BAR) -> str:
    """The free memory as a bar: a letter per part, dots for the margin, ``!`` where it ends short.

    Every part that is there gets at least one letter.
    """
    free = max(1, device.free_bytes or 1)

    def letters(size: int) -> int:
        return min(width, max(1, round(size / free * width))) if size else 0

    text = "".join(letter * letters(getattr(device.parts, name)) for name, letter in _LETTERS)
    text += "." * letters(device.margin_bytes)
    if not device.fits:
        return text[: width - 1].ljust(width - 1) + "!"
    return text[:width].ljust(width)


def options_text(options: Sequence[Option], ctx_size: int) -> str:
    """The ways to have that context, and their prices."""
    if not options:
        return say("No way was found to have {ctx_size} tokens of context here.", ctx_size=ctx_size)
    lines = [say("Ways to have {ctx_size} tokens of context per slot:", ctx_size=ctx_size)]
    for number, option in enumerate(options, 1):
        speed = option.plan.tokens_per_second
        text = f"  {number}. {translated(option.words)}"
        if speed is not None:
            text += say(": about {speed} tokens/s", speed=_speed(speed))
        if option.price is not None and abs(option.price) >= 0.01:
            much = say("slower") if option.price > 0 else say("faster")
            text += say(
                " ({price:.0%} {much} than without the wish)", price=abs(option.price), much=much
            )
        lines.append(text)
    return "\n".join(lines)
