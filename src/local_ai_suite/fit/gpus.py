"""Graphics cards by name: memory and bandwidth, for planning and for expected speed.

Memory in GiB and bandwidth in GB/s (10^9) as in NVIDIA's data sheets. A name matches the longest
entry whose words it contains in order; laptop cards are entries of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class GpuModel:
    """A card: ``memory_bytes`` in all, ``bandwidth`` in bytes per second."""

    name: str
    memory_bytes: int
    bandwidth: float


def _card(name: str, gib: float, gb_per_second: float) -> GpuModel:
    return GpuModel(name, int(gib * GIB), gb_per_second * 1e9)


CARDS: tuple[GpuModel, ...] = (
    _card("GTX 1060", 6, 192), _card("GTX 1070", 8, 256), _card("GTX 1080", 8, 320),
    _card("GTX 1080 Ti", 11, 484), _card("GTX 1650", 4, 128), _card("GTX 1660", 6, 192),
    _card("GTX 1660 Super", 6, 336), _card("GTX 1660 Ti", 6, 288),
    _card("RTX 2050", 4, 112), _card("RTX 2060", 6, 336), _card("RTX 2060 Super", 8, 448),
    _card("RTX 2070", 8, 448), _card("RTX 2080", 8, 448), _card("RTX 2080 Ti", 11, 616),
    _card("RTX 3050", 8, 224), _card("RTX 3050 Laptop", 4, 192), _card("RTX 3050 6GB", 6, 168),
    _card("RTX 3050 Ti Laptop", 4, 192), _card("RTX 3060", 12, 360),
    _card("RTX 3060 Laptop", 6, 336), _card("RTX 3060 Ti", 8, 448), _card("RTX 3070", 8, 448),
    _card("RTX 3070 Laptop", 8, 448), _card("RTX 3070 Ti", 8, 608),
    _card("RTX 3070 Ti Laptop", 8, 448), _card("RTX 3080", 10, 760),
    _card("RTX 3080 Laptop", 8, 448), _card("RTX 3080 Ti", 12, 912), _card("RTX 3090", 24, 936),
    _card("RTX 3090 Ti", 24, 1008),
    _card("RTX 4050", 6, 192), _card("RTX 4050 Laptop", 6, 192), _card("RTX 4060", 8, 272),
    _card("RTX 4060 Laptop", 8, 256), _card("RTX 4060 Ti", 8, 288),
    _card("RTX 4060 Ti 16GB", 16, 288), _card("RTX 4070", 12, 504),
    _card("RTX 4070 Laptop", 8, 256), _card("RTX 4070 Super", 12, 504),
    _card("RTX 4070 Ti", 12, 504), _card("RTX 4070 Ti Super", 16, 672), _card("RTX 4080", 16, 717),
    _card("RTX 4080 Laptop", 12, 432), _card("RTX 4080 Super", 16, 736),
    _card("RTX 4090", 24, 1008), _card("RTX 4090 Laptop", 16, 576),
    _card("RTX 5050", 8, 320), _card("RTX 5060", 8, 448), _card("RTX 5060 Laptop", 8, 384),
    _card("RTX 5060 Ti", 8, 448), _card("RTX 5060 Ti 16GB", 16, 448), _card("RTX 5070", 12, 672),
    _card("RTX 5070 Laptop", 8, 384), _card("RTX 5070 Ti", 16, 896),
    _card("RTX 5070 Ti Laptop", 12, 672), _card("RTX 5080", 16, 960),
    _card("RTX 5080 Laptop", 16, 896), _card("RTX 5090", 32, 1792),
    _card("RTX 5090 Laptop", 24, 896),
    _card("RTX A2000", 6, 288), _card("RTX A4000", 16, 448), _card("RTX A5000", 24, 768),
    _card("RTX A6000", 48, 768), _card("RTX 6000 Ada", 48, 960),
    _card("Tesla T4", 16, 320), _card("T4", 16, 320), _card("L4", 24, 300), _card("L40S", 48, 864),
    _card("A10", 24, 600), _card("A10G", 24, 600), _card("A40", 48, 696),
    _card("V100", 16, 900), _card("A100", 40, 1555), _card("A100 80GB", 80, 2039),
    _card("H100", 80, 3352), _card("H200", 141, 4800),
)  # fmt: skip


def find_gpu(name: str) -> GpuModel | None:
    """The card that ``name`` means: ``rtx 4050``, ``NVIDIA GeForce RTX 4050 Laptop GPU``."""
    words = _words(name)
    best: GpuModel | None = None
    for card in CARDS:
        wanted = _words(card.name)
        if all(word in words for word in wanted) and (
            best is None or len(wanted) > len(_words(best.name))
        ):
            best = card
    return best


def _words(name: str) -> list[str]:
    """Lower-case words; ``4060ti`` and ``RTX4050`` are split, ``16 GB`` is joined."""
    text = re.sub(r"(\d+)\s*gi?b\b", r"\1gb", name.lower())
    text = re.sub(r"\b(rtx|gtx)(?=\d)", r"\1 ", text)
    text = re.sub(r"(\d{4})(ti|super)\b", r"\1 \2", text)
    return re.findall(r"[a-z0-9]+", text)
