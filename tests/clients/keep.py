# ruff: noqa: E402 (the folder of the tests comes onto the path first)
"""Keep what the last ``make test-clients`` saw: the replay corpus and the compatibility matrix.

``python tests/clients/keep.py [CLIENT ...]`` writes ``tests/replay/corpus/CLIENT.json`` of each
client that ran, docs/clients/matrix.md and VS Code's screenshot. Only clients whose tests all
passed are kept; the others are named, and the exit code is 1.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import client_corpus
import client_matrix

SEEN = ROOT / ".cache" / "clients" / "seen"


def gathered(client: str, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A client's file, from what its tests saw."""
    exchanges: dict[str, Any] = {}
    for run in runs:
        for one in run["exchanges"]:
            if one["answer"]["status"] == 401:
                continue  # a wrong key, on purpose: the replay has none
            same = json.dumps([one["method"], one["path"], one["body"]], sort_keys=True)
            exchanges.setdefault(same, one)
    prompts = [run["prompt_tokens"] for run in runs if run["prompt_tokens"]]
    return {
        "client": client,
        "package": runs[0]["package"],
        "version": runs[0]["version"],
        "shown": sorted({what for run in runs for what in run["shown"]}),
        "prompt_tokens": max(prompts, default=None),
        **client_corpus.pack(list(exchanges.values())[: client_corpus.MOST]),
    }


def main(chosen: list[str]) -> int:
    by_client: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(SEEN.glob("*.json")):
        run = json.loads(path.read_text(encoding="utf-8"))
        if not chosen or run["client"] in chosen:
            by_client.setdefault(run["client"], []).append(run)
    if not by_client:
        print("Nothing was seen: run `make test-clients` first.", file=sys.stderr)
        return 1
    client_corpus.FOLDER.mkdir(parents=True, exist_ok=True)
    code = 0
    for client, runs in by_client.items():
        failed = [run["test"] for run in runs if not run["passed"]]
        if failed:
            print(f"{client}: not kept, failed: {', '.join(failed)}", file=sys.stderr)
            code = 1
            continue
        path = client_corpus.FOLDER / f"{client}.json"
        path.write_text(client_corpus.as_text(gathered(client, runs)), encoding="utf-8")
        print(path)
    picture = ROOT / ".cache" / "clients" / "vscode.png"
    if "vscode" in by_client and not code:
        shutil.copy(picture, client_matrix.PAGE.with_name(picture.name))
    client_matrix.PAGE.write_text(client_matrix.page(), encoding="utf-8")
    print(client_matrix.PAGE)
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
