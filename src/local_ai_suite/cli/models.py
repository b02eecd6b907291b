"""``lais models``: what is there, what to get, get it, remove it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from local_ai_suite.cli.models_inspect import inspect_command
from local_ai_suite.cli.models_progress import Quiet, watcher
from local_ai_suite.cli.output import echo, json_option, show
from local_ai_suite.errors import SettingsError, UsageError
from local_ai_suite.messages import looked_up, say, tr, translated
from local_ai_suite.models import listing, recommended
from local_ai_suite.models.built import pull_embedding
from local_ai_suite.models.pull import Pulled, pull
from local_ai_suite.models.reference import parse
from local_ai_suite.models.remove import find_removal
from local_ai_suite.paths import Paths, find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import Settings, load_settings

if TYPE_CHECKING:
    from pathlib import Path


@click.group(invoke_without_command=True)
@json_option
@click.pass_context
def models_command(ctx: click.Context, as_json: bool) -> int | None:
    """The GGUF files: what is there, what to get, getting and removing them."""
    if ctx.invoked_subcommand is None:
        code: int = ctx.invoke(list_command, as_json=as_json)
        return code
    return None


models_command.add_command(inspect_command)


@models_command.command("list")
@json_option
def list_command(as_json: bool) -> int:
    """The models found, which of them is chat, code and embedding, and why."""
    paths = find_paths()
    settings = load_settings(paths)
    found = listing.list_models(settings, paths)
    result = Result(
        "models list", listing.as_text(found), listing.as_data(found), warnings=found.problems
    )
    return show(result, as_json=as_json)


@models_command.command("recommended")
@json_option
def recommended_command(as_json: bool) -> int:
    """A short list of models that suit a PC with a GPU of 6 GB, or none."""
    entries = recommended.recommended()
    lines = []
    for entry in entries:
        usual = (
            say("; `lais models pull {role}`", role=entry.default_for) if entry.default_for else ""
        )
        lines += [
            f"{entry.name:<17} {entry.kind:<6} {entry.gigabytes:.2f} GB  {looked_up(entry.title)}",
            f"    {looked_up(entry.licence)}{usual}",
            f"    6 GB GPU: {looked_up(entry.fits_6gb)}",
        ]
    lines += [
        "",
        say("Get one: lais models pull NAME, or any other: lais models pull user/repo:file"),
    ]
    data = {"models": [listing.recommended_as_data(entry) for entry in entries]}
    return show(Result("models recommended", "\n".join(lines), data), as_json=as_json)


@models_command.command("pull")
@click.argument("name")
@json_option
def pull_command(name: str, as_json: bool) -> int:
    """Download NAME: a recommended model, chat, code, embed, rerank, or user/repo:file.

    It is resumed when it was interrupted, and checked against the hub's SHA-256.
    """
    paths = find_paths()
    settings = load_settings(paths)
    folder = download_folder(settings, paths)
    entry = recommended.find(name)
    with Quiet() if as_json else watcher() as progress:
        try:
            if entry is not None and entry.repo is None:
                pulled = pull_embedding(folder, paths, progress)
            else:
                pulled = _from_hub(name, settings, folder, progress)
        except KeyboardInterrupt:
            progress.close()
            echo(
                say(
                    "What has come is kept. `lais models pull {name}` goes on from there.",
                    name=name,
                ),
                err=True,
            )
            raise
    files = ", ".join(path.name for path in pulled.paths)
    size = listing.size_text(pulled.size_bytes)
    how = say("downloaded and checked") if pulled.fresh else say("is there already, and is right")
    kind = entry.kind if entry else None
    roles = listing.roles_of(pulled.paths[0], settings, paths, wanted=kind)
    text = "\n".join([f"{files}: {how} ({size})", *map(translated, roles)])
    data = {
        "model": pulled.reference.words,
        "files": [str(path) for path in pulled.paths],
        "size_bytes": pulled.size_bytes,
        "sha256": pulled.sha256,
        "fresh": pulled.fresh,
    }
    return show(Result("models pull", text, data), as_json=as_json)


def _from_hub(name: str, settings: Settings, folder: Path, progress: Quiet) -> Pulled:
    # What a download needs (httpx) is not loaded for a list.
    from local_ai_suite.models.hub import Hub  # noqa: PLC0415

    reference = parse(name)
    with Hub(settings.hf_endpoint, settings.hf_token) as hub:
        return pull(hub, reference, folder, progress)


@models_command.command("rm")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
def rm_command(name: str, yes: bool, as_json: bool) -> int:
    """Delete the model NAME (a file in MODELS_DIR), all its parts and unfinished downloads."""
    paths = find_paths()
    settings = load_settings(paths)
    removal = find_removal(name, settings.models_path(paths))
    names = [path.name for path in removal.paths]
    if not yes:
        question = say(
            "Delete {names} ({size})?",
            names=", ".join(names),
            size=listing.size_text(removal.size_bytes),
        )
        if not _agreed(question):
            return show(
                Result("models rm", say("Kept."), {"deleted": []}, exit_code=1), as_json=as_json
            )
    still_named = listing.settings_that_name(removal.paths, settings, paths)
    freed = removal.carry_out()
    text = say(
        "Deleted {names}: {size} are free again.",
        names=", ".join(names),
        size=listing.size_text(freed),
    )
    warnings = tuple(say("{key} still names it: change it in .env", key=key) for key in still_named)
    data = {"deleted": [str(path) for path in removal.paths], "freed_bytes": freed}
    return show(Result("models rm", text, data, warnings=warnings), as_json=as_json)


def _agreed(question: str) -> bool:
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        if sys.stdin.isatty():
            raise  # Ctrl-C
        echo(err=True)
        raise UsageError(
            tr("nobody can be asked whether to delete it: standard input has ended"),
            hint=tr("--yes deletes without asking."),
        ) from None


def download_folder(settings: Settings, paths: Paths) -> Path:
    """``MODELS_DIR``; made when it is the project's own, an error when a person's is not there."""
    folder = settings.models_path(paths)
    if folder.is_dir():
        return folder
    if "MODELS_DIR" in settings.sources and paths.project not in folder.parents:
        raise SettingsError(
            tr(
                "MODELS_DIR is {models_dir!r} ({source}), and that folder is not there",
                models_dir=settings.models_dir,
                source=settings.sources["MODELS_DIR"],
            ),
            hint=tr(
                "If its disk is unplugged, plug it in; else make the folder or change MODELS_DIR."
            ),
            key="MODELS_DIR",
        )
    folder.mkdir(parents=True, exist_ok=True)
    return folder
