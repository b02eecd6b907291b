"""``lais models inspect``: what a GGUF's header says."""

from __future__ import annotations

import click

from local_ai_suite.cli.model_files import find_model
from local_ai_suite.cli.output import json_option, show
from local_ai_suite.gguf import describe, description_text, read_gguf
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result
from local_ai_suite.settings import load_settings


@click.command("inspect")
@click.argument("file")
@json_option
def inspect_command(file: str, as_json: bool) -> int:
    """Architecture, layers, quantization, abilities and sizes of FILE, from its header."""
    paths = find_paths()
    found = describe(read_gguf(find_model(file, load_settings(paths), paths)))
    result = Result("models inspect", description_text(found), found.as_dict())
    return show(result, as_json=as_json)
