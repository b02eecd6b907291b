"""Cursor needs a public address: the tunnels that are installed, offered and never opened.

Without a key a tunnel gives the models to everybody who finds the address, so no command is shown
before the server asks for one.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from local_ai_suite.messages import tr

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .serving import Endpoint


@dataclass(frozen=True, slots=True)
class Tunnel:
    """A program that publishes a local port. ``line`` has ``{root}`` and ``{port}`` to fill in."""

    command: str
    line: str
    then: str


TUNNELS = (
    Tunnel(
        "cloudflared",
        # Its address is another one at each start, so no list of hosts could hold it: the tunnel
        # itself calls the server by the name that it knows.
        "cloudflared tunnel --url {root} --http-host-header localhost",
        tr(
            "prints an address https://....trycloudflare.com, another one at each start; no account"
        ),
    ),
    Tunnel(
        "tailscale",
        "tailscale funnel {port}",
        tr("prints an address https://MACHINE.TAILNET.ts.net that stays; add it to ALLOWED_HOSTS"),
    ),
)


def installed(which: Callable[[str], str | None] = shutil.which) -> tuple[Tunnel, ...]:
    """Those on this machine."""
    return tuple(tunnel for tunnel in TUNNELS if which(tunnel.command))


def cursor_steps(endpoint: Endpoint, tunnels: Sequence[Tunnel] = TUNNELS) -> list[str]:
    """What a person does, with the commands of ``tunnels``, each behind the warning."""
    truth = tr(
        "Cursor cannot use {base_url}: its own servers make the call, and they "
        "refuse a private address (ssrf_blocked). It works only through a public "
        "HTTPS address, that is through a tunnel that you open yourself.",
        base_url=endpoint.base_url,
    )
    if not endpoint.key_needed:
        return [
            truth,
            (
                tr(
                    "First the key: this server asks for none, and through a tunnel anybody "
                    "could use it. Set REQUIRE_KEY=true in .env, `lais restart`, and run this "
                    "command again: it then shows how to open the tunnel."
                )
            ),
        ]
    port = endpoint.root.rpartition(":")[2]
    offers = [
        f"`{tunnel.line.format(root=endpoint.root, port=port)}` ({tunnel.then})"
        for tunnel in tunnels
    ]
    if not offers:
        names = " or ".join(tunnel.command for tunnel in TUNNELS)
        offers = [tr("install one: {names} is not on this machine", names=names)]
    return [
        truth,
        (
            tr(
                "WARNING: as long as the tunnel is open, the key is all that stands between "
                "the internet and your models. Give it to nobody, and close the tunnel when "
                "you are done."
            )
        ),
        *(tr("Open it yourself: {offer}", offer=offer) for offer in offers),
        (
            tr(
                "In Cursor: Settings, Models, OpenAI API Key: LITELLM_MASTER_KEY of .env, or "
                "better one of its own (`lais keys create cursor`); Override OpenAI Base "
                "URL: https://NAME-OF-THE-TUNNEL/cursor; model {id}. Ask, Plan and Agent "
                "work where Cursor's plan allows own keys; Tab never uses one.",
                id=endpoint.chat.id,
            )
        ),
    ]
