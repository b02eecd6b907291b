"""The result as an SVG, by hand: panels of bars on a logarithmic scale."""

from __future__ import annotations

import math
from typing import Any

COLOURS = {"relay": "#1a73e8", "litellm": "#e8710a", "portkey": "#9334e6"}
NAMES = {"relay": "this gateway", "litellm": "LiteLLM", "portkey": "Portkey"}
WIDTH, PANEL, BAR, LEFT, ROOM = 760, 34, 20, 120, 460


def svg(found: dict[str, dict[str, Any]]) -> str:
    """One panel a number; longer is better or worse, as its title says."""
    gateways = [name for name in NAMES if name in found]
    panels = [
        (
            "Added latency, one client, p50 in ms (shorter is better)",
            {n: found[n]["requests"][1]["added"]["p50"] for n in gateways},
        ),
        (
            "Requests per second and core (longer is better)",
            {n: found[n]["requests_per_core"] for n in gateways},
        ),
        (
            "Streamed chunks per second and core (longer is better)",
            {n: found[n]["chunks_per_core"] for n in gateways},
        ),
        (
            "From exec to the first answer, in seconds (shorter is better)",
            {n: found[n]["ready"] for n in gateways},
        ),
        (
            "Memory at start, in MB (shorter is better)",
            {n: found[n]["memory"][0] for n in gateways},
        ),
    ]
    parts, top = [], 16
    for title, values in panels:
        parts.append(_text(16, top + 14, title, weight="bold"))
        top += PANEL - 8
        for name, value in values.items():
            if value <= 0:  # it failed: nothing to draw
                parts += [_text(16, top + 15, NAMES[name]), _text(LEFT, top + 15, "fails")]
                top += BAR + 6
                continue
            length = _length(value, values.values())
            parts.append(_text(16, top + 15, NAMES[name]))
            parts.append(
                f'<rect x="{LEFT}" y="{top}" width="{length:.0f}" height="{BAR}" rx="3" '
                f'fill="{COLOURS[name]}"/>'
            )
            parts.append(_text(LEFT + length + 8, top + 15, _number(value)))
            top += BAR + 6
        top += 14
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" font-family="system-ui, sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>'
    )
    return head + "\n" + "\n".join(parts) + "\n</svg>\n"


def _length(value: float, values: Any) -> float:
    """Logarithmic: the smallest is a stub, the largest fills the room."""
    most = max(*values, 1e-9)
    least = min(most / 1e4, max(min(v for v in values if v > 0), 1e-9) / 2)
    share = math.log(max(value, least * 1.01) / least) / math.log(most / least)
    return max(4.0, ROOM * share)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _text(x: float, y: float, text: str, weight: str = "normal") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-weight="{weight}" fill="#202124">{text}</text>'
