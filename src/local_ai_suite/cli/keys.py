"""``lais keys``: named keys for the gateway."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from local_ai_suite.cli.output import json_option, show
from local_ai_suite.gateway.keys import KeyFile, NamedKey
from local_ai_suite.messages import say
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result


@click.group()
def command() -> None:
    """Named keys for the gateway, each with limits of its own.

    They count when REQUIRE_KEY=true; a key that is shown anyway is held to its limits.
    """


@command.command()
@click.argument("name")
@click.option("--rpm", type=click.IntRange(1), help="Requests per minute; unlimited by default.")
@click.option("--parallel", type=click.IntRange(1), help="Requests at once; unlimited by default.")
@json_option
def create(name: str, rpm: int | None, parallel: int | None, as_json: bool) -> int:
    """Make a key and print it, once: only its hash is kept."""
    paths = find_paths()
    paths.ensure_state()
    secret = KeyFile(paths.keys_file).create(name, requests_per_minute=rpm, parallel=parallel)
    result = Result(
        "keys create",
        secret,
        {"name": name, "key": secret, "requests_per_minute": rpm, "parallel": parallel},
    )
    return show(result, as_json=as_json)


@command.command(name="list")
@json_option
def list_keys(as_json: bool) -> int:
    """The keys by name, with their limits."""
    keys = KeyFile(find_paths().keys_file).read()
    text = "\n".join(_line(key) for key in keys) or say("There are no named keys.")
    data = [
        {
            "name": key.name,
            "created": key.created,
            "requests_per_minute": key.requests_per_minute,
            "parallel": key.parallel,
        }
        for key in keys
    ]
    return show(Result("keys list", text, {"keys": data}), as_json=as_json)


@command.command()
@click.argument("name")
@json_option
def revoke(name: str, as_json: bool) -> int:
    """Remove a key; a running gateway refuses it within a second."""
    KeyFile(find_paths().keys_file).revoke(name)
    return show(
        Result("keys revoke", say("Revoked {name}.", name=name), {"name": name}),
        as_json=as_json,
    )


def _line(key: NamedKey) -> str:
    since = datetime.fromtimestamp(key.created, UTC).date().isoformat()
    rate = (
        say("unlimited")
        if key.requests_per_minute is None
        else say("{count}/min", count=key.requests_per_minute)
    )
    parallel = say("any number") if key.parallel is None else str(key.parallel)
    return say(
        "{name}  since {since}  {rate}, {parallel} at once",
        name=key.name,
        since=since,
        rate=rate,
        parallel=parallel,
    )
