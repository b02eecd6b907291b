# ruff: noqa: E402 (the folders of the tests come onto the path first)
"""The matrix: `python tests/conformance/matrix.py` runs every check and prints what differs.

`--targets direct,relay` takes fewer targets, `--js` the JavaScript SDKs too; `--write` takes what
it saw into the tables and docs/reference/conformance.md. What stands there is what the tests
expect: a change either way fails.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

FOLDER = Path(__file__).parent
sys.path[:0] = [str(FOLDER), str(FOLDER.parent)]

import checks_chat
import checks_completions
import checks_errors
import checks_load
import checks_messages
import checks_others
import checks_responses
import js_clients
import targets
from checks import CHECKS, OK, Check

if TYPE_CHECKING:
    from collections.abc import Mapping

AREAS = (
    checks_chat, checks_completions, checks_responses, checks_messages, checks_others,
    checks_errors, checks_load,
)  # fmt: skip
TARGETS = ("direct", "relay", "litellm")
TABLE = FOLDER / "differences.toml"
PAGE = FOLDER.parents[1] / "docs" / "reference" / "conformance.md"

Outcomes = dict[str, dict[str, str]]


def key(check: Check) -> str:
    return f"{check.area}: {check.name}"


def differences() -> Outcomes:
    """By check and target, what is not as the protocol says."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def expected(check: Check, target: str) -> str:
    return differences().get(key(check), {}).get(target, OK)


def run(names: list[str], *, js: bool) -> tuple[Outcomes, Outcomes]:
    """Start the targets, run everything, print each line as it comes; Python's, JavaScript's."""
    found: Outcomes = {}
    found_js: Outcomes = {}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        running = []
        if "direct" in names:
            running.append(stack.enter_context(targets.direct(folder)))
        if {"relay", "litellm"} & set(names):
            pool = stack.enter_context(targets.pool(folder / "pool"))
        if "relay" in names:
            running.append(stack.enter_context(targets.gateway("relay", folder / "relay", pool)))
        if "litellm" in names:
            off = targets.gateway("litellm", folder / "litellm", pool, GATEWAY_RELAY="off")
            running.append(stack.enter_context(off))
        for check in CHECKS:
            found[key(check)] = {target.name: check.outcome(target) for target in running}
            print(f"{key(check):60}", " | ".join(found[key(check)].values()), flush=True)
        for target in running if js else []:
            for name, text in js_clients.run(target).items():
                found_js.setdefault(name, {})[target.name] = text
        for name, row in found_js.items():
            print(f"{name:60}", " | ".join(row.values()), flush=True)
    return found, found_js


def write(
    found: Mapping[str, Mapping[str, str]], found_js: Mapping[str, Mapping[str, str]]
) -> None:
    """Take what was seen into the table, and the table into the page."""
    known = differences()
    lines = ["# What is not as the protocol says, by check and target; the rest is ok.", ""]
    for check in CHECKS:
        row = {**known.get(key(check), {}), **found.get(key(check), {})}
        row = {name: row[name] for name in TARGETS if row.get(name, OK) != OK}
        if row:
            lines += [f"[{json.dumps(key(check))}]"]
            lines += [f"{name} = {json.dumps(text)}" for name, text in row.items()] + [""]
    TABLE.write_text("\n".join(lines), encoding="utf-8")
    if found_js:
        known_js = js_clients.outcomes() if js_clients.TABLE.exists() else {}
        table = {name: {**known_js.get(name, {}), **row} for name, row in found_js.items()}
        js_clients.TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(render(), encoding="utf-8")


def render() -> str:
    """docs/reference/conformance.md, out of the checks and the table."""
    known = differences()
    good = {
        name: sum(known.get(key(check), {}).get(name, OK) == OK for check in CHECKS)
        for name in TARGETS
    }
    lines = [
        "# Conformance",
        "",
        "Every route that the suite serves, streamed and not, asked through the OpenAI, Anthropic",
        "and Ollama SDKs for Python and checked with their own types: against llama.cpp's own",
        "server (*direct*), through the gateway (*relay*), and with `GATEWAY_RELAY=off`, where",
        "LiteLLM answers (*litellm*). What stands here is what the tests expect, so a change",
        "either way fails, also when upstream gets better.",
        "",
        "    python tests/conformance/matrix.py --js --write    # runs it all and writes this page",
        "",
        f"As the protocol says, of {len(CHECKS)} checks: "
        + ", ".join(f"{name} {count}" for name, count in good.items())
        + ".",
    ]
    for module in AREAS:
        area = module.__name__.removeprefix("checks_")
        title = str(module.__doc__).strip().rstrip(".")
        lines += [
            "",
            f"## {title}",
            "",
            "| check | direct | relay | litellm |",
            "|---|---|---|---|",
        ]
        for check in CHECKS:
            if check.area == area:
                row = known.get(key(check), {})
                cells = " | ".join(row.get(name, OK) for name in TARGETS)
                lines.append(f"| {check.name} | {cells} |")
    lines += ["", "## JavaScript: the OpenAI and Anthropic SDKs, the AI SDK (`ai`)", ""]
    lines += ["| check | direct | relay | litellm |", "|---|---|---|---|"]
    for name, row in js_clients.outcomes().items():
        lines.append(f"| {name} | {' | '.join(row[target] for target in TARGETS)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--js", action="store_true")
    words = parser.parse_args()
    found, found_js = run(words.targets.split(","), js=words.js)
    if words.write:
        write(found, found_js)
    known = differences()
    for name, row in found.items():
        for target, text in row.items():
            if text != (was := known.get(name, {}).get(target, OK)):
                print(f"changed: {name}: {target}: {was} -> {text}")


if __name__ == "__main__":
    main()
