"""A plan as a table with a memory bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    "weights": "weights",
    "kv_cache": "KV cache",
    "compute": "compute buffers",
    "projector": "projector",
    "overhead": "runtime",
}


def plan_text(plan: FitPlan) -> str:
    """What ``lais plan-fit`` prints."""
    lines = [
        f"{plan.model} ({plan.architecture}): {'fits' if plan.fits else 'DOES NOT FIT'}",
        "",
        *(f"  {name:<15} {value}" for name, value in _settings(plan)),
    ]
    for device in plan.devices:
        lines += ["", *_device(device)]
    lines += ["", *(f"  - {reason}" for reason in plan.reasons)]
    lines += [f"  ! {warning}" for warning in plan.warnings]
    return "\n".join(lines)


def _settings(plan: FitPlan) -> list[tuple[str, str]]:
    layers = f"{plan.n_gpu_layers} of {plan.gpu_layers_max} on the GPU"
    if plan.n_cpu_moe:
        layers += f", experts of {plan.n_cpu_moe} layers in system memory"
    slots = f"{plan.parallel} slot{'s' if plan.parallel > 1 else ''}"
    cache = f"{plan.cache_type_k}/{plan.cache_type_v}"
    rows = [
        ("layers", layers),
        ("context", f"{plan.ctx_size} tokens per slot, {slots}"),
        ("cache", f"{cache}, flash attention {plan.flash_attention}"),
    ]
    if plan.tokens_per_second is not None:
        rows.append(("speed", f"about {_speed(plan.tokens_per_second)} tokens/s expected"))
    if plan.load_seconds is not None:
        rows.append(("loading", f"about {plan.load_seconds:.0f} s"))
    return rows


def _speed(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def _device(device: DevicePlan) -> list[str]:
    free = "unknown" if device.free_bytes is None else size_text(device.free_bytes)
    total = "" if device.total_bytes is None else f" of {size_text(device.total_bytes)}"
    lines = [f"{device.name}  {device.description}: {free}{total} free"]
    if device.free_bytes:
        lines.append(f"  [{bar(device)}]")
    for name, letter in _LETTERS:
        size = getattr(device.parts, name)
        if size:
            lines.append(f"  {letter} {_NAMES[name]:<16} {size_text(size):>10}")
    lines.append(f"  . {'margin':<16} {size_text(device.margin_bytes):>10}")
    if device.headroom is not None:
        word = "left" if device.headroom >= 0 else "missing"
        lines.append(f"    {word:<16} {size_text(abs(device.headroom)):>10}")
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
        return f"No way was found to have {ctx_size} tokens of context here."
    lines = [f"Ways to have {ctx_size} tokens of context per slot:"]
    for number, option in enumerate(options, 1):
        speed = option.plan.tokens_per_second
        text = f"  {number}. {option.words}"
        if speed is not None:
            text += f": about {_speed(speed)} tokens/s"
        if option.price is not None and abs(option.price) >= 0.01:
            much = "slower" if option.price > 0 else "faster"
            text += f" ({abs(option.price):.0%} {much} than without the wish)"
        lines.append(text)
    return "\n".join(lines)
