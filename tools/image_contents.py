"""What the images are made of, in MB, as a table: `python tools/image_contents.py [--write]`.

Asks Docker for the sizes of the images that `make up-p1` built, and each image for what lies in its
environment. `--write` puts the table into docs/guides/docker.md.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from local_ai_suite.stack import compose

PAGE = Path(__file__).parents[1] / "docs" / "guides" / "docker.md"
BEGIN, END = "<!-- contents: begin -->", "<!-- contents: end -->"
LARGEST = 8
# Run inside: bytes by top-level name, with bytecode and compiled code told apart.
LOOK = """
import json, os, sysconfig
site = sysconfig.get_paths()["purelib"]
found = {}
for folder, _, names in os.walk(site):
    top = os.path.relpath(folder, site).split(os.sep)[0]
    for name in names:
        size = os.lstat(os.path.join(folder, name)).st_size
        kind = "bytecode" if name.endswith(".pyc") else "compiled" if ".so" in name else "other"
        entry = found.setdefault(name if top == "." else top, {})
        entry[kind] = entry.get(kind, 0) + size
print(json.dumps(found))
"""


def docker(*words: str) -> str:
    done = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"error: docker {words[0]}: {done.stderr.strip()}")
    return done.stdout


def megabytes(size: float) -> str:
    return f"{size / 1e6:.0f}"


def table(image: str) -> list[str]:
    """The image in a line, its layers' sum below the environment, and the largest packages."""
    whole = int(docker("image", "inspect", "--format", "{{.Size}}", image))
    said = docker("run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-c", LOOK)
    packages: dict[str, dict[str, int]] = json.loads(said)
    environment = sum(sum(kinds.values()) for kinds in packages.values())
    lines = [
        f"`{image}`: {megabytes(whole)} MB, of that {megabytes(whole - environment)} MB base.",
        "",
        "| in its environment | MB | bytecode | compiled code |",
        "|---|---|---|---|",
    ]
    ordered = sorted(packages.items(), key=lambda item: -sum(item[1].values()))
    rest: dict[str, int] = {}
    for _, kinds in ordered[LARGEST:]:
        for kind, size in kinds.items():
            rest[kind] = rest.get(kind, 0) + size
    shown = [*ordered[:LARGEST], (f"{len(ordered) - LARGEST} more", rest)]
    for name, kinds in shown:
        cells = (sum(kinds.values()), kinds.get("bytecode", 0), kinds.get("compiled", 0))
        lines.append(f"| {name} | {' | '.join(megabytes(cell) for cell in cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true", help="Put it into docs/guides/docker.md.")
    words = parser.parse_args()
    inference, gateway = compose.images("p1", gpu=False)
    text = "\n".join([*table(gateway), "", *table(inference)])
    print(text)
    if words.write:
        before, _, more = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = more.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
