"""``lais gateway``: where each public model name goes."""

from __future__ import annotations

import os

import click

from local_ai_suite.cli.output import json_option, show
from local_ai_suite.gateway.config import Route, load_config
from local_ai_suite.messages import translated
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings


@click.group()
def command() -> None:
    """The gateway on port 8000: its routes."""


@command.command()
@json_option
def routes(as_json: bool) -> int:
    """Each model, whether it is relayed or LiteLLM's, and why."""
    from local_ai_suite.gateway.server import environment  # noqa: PLC0415 (imports the server)

    paths = find_paths()
    settings = load_settings(paths)
    config = load_config(
        paths.gateway_config,
        environment(settings, os.environ),
        relay=settings.gateway_relay == "on",
    )
    found = config.every_route()
    width = max(len(route.public) for route in found)
    lines = [f"{route.public:<{width}}  {route.kind:<7}  {_where(route)}" for route in found]
    data = [
        {
            "model": route.public,
            "route": route.kind,
            "engine_model": route.engine,
            "api_base": next(iter(route.api_bases), None),
            "mode": route.mode,
            "alias_of": route.alias_of,
            "reason": route.reason,
        }
        for route in found
    ]
    result = Result(
        "gateway routes", "\n".join(lines), {"config": str(config.path), "routes": data}
    )
    return show(result, as_json=as_json)


def _where(route: Route) -> str:
    reason = translated(route.reason)
    return f"{route.engine}: {reason}" if route.engine != route.public else reason
