"""Find Docker Compose v2, or unpack Debian's package of it into the project's cache.

``docker compose config`` needs no engine, so the tests that compare our reading of ``.env`` with
Compose's own can run anywhere. The package comes through apt, from the mirror that this machine
already uses, and is checked by apt's signatures; nothing is installed.

    python tools/compose_plugin.py        prints the path of a docker-compose that runs
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache" / "compose"
# Debian 13: the first release that packages Compose v2.
SUITE = "trixie"
PACKAGE = "docker-compose"
PLUGIN_FOLDERS = (
    Path.home() / ".docker" / "cli-plugins",
    Path("/usr/local/lib/docker/cli-plugins"),
    Path("/usr/local/libexec/docker/cli-plugins"),
    Path("/usr/lib/docker/cli-plugins"),
    Path("/usr/libexec/docker/cli-plugins"),
)
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
APT_SECONDS = 300  # an index of 10 MB and a package of 13 MB over a slow line


def find_compose() -> Path:
    """A ``docker-compose`` v2 executable; fetched once when the machine has none."""
    installed = [folder / "docker-compose" for folder in PLUGIN_FOLDERS]
    if on_path := shutil.which("docker-compose"):
        installed.append(Path(on_path))
    for path in (*installed, CACHE / "docker-compose"):
        if path.is_file() and _is_v2(path):
            return path
    return _unpack()


def _is_v2(path: Path) -> bool:
    answer = subprocess.run(
        [path, "version"], check=False, capture_output=True, text=True, timeout=30
    )
    return answer.returncode == 0 and "Docker Compose version" in answer.stdout


def _unpack() -> Path:
    private = CACHE / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (private / folder).mkdir(parents=True, exist_ok=True)
    sources = private / "sources.list"
    sources.write_text(f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n", encoding="utf-8")
    apt = [
        "apt-get", "-q",
        "-o", f"Dir::Etc::sourcelist={sources}",
        "-o", "Dir::Etc::sourceparts=/dev/null",
        "-o", f"Dir::State::lists={private / 'lists'}",
        "-o", f"Dir::Cache={private}",
        "-o", f"Dir::Cache::archives={private / 'archives'}",
        "-o", "APT::Sandbox::User=",
    ]  # fmt: skip
    for words in (["update"], ["download", PACKAGE]):
        subprocess.run(
            [*apt, *words], cwd=private, check=True, timeout=APT_SECONDS, stdout=sys.stderr
        )
    package = max(private.glob(f"{PACKAGE}_*.deb"), key=lambda path: path.stat().st_mtime)
    subprocess.run(["dpkg-deb", "-x", package, private / "tree"], check=True, timeout=APT_SECONDS)
    (plugin,) = (private / "tree").rglob("cli-plugins/docker-compose")
    shutil.copy2(plugin, CACHE / "docker-compose")
    shutil.rmtree(private)
    return CACHE / "docker-compose"


def _mirror() -> str:
    """The Debian mirror in apt's own configuration."""
    answer = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(ORIGIN)|$(REPO_URI)", "Created-By: Packages"],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    for line in answer.stdout.splitlines():
        origin, _, uri = line.partition("|")
        if origin == "Debian" and "security" not in uri:
            return uri
    # No index was downloaded yet: take the address from the sources themselves.
    for file in [*sorted(Path("/etc/apt").rglob("*.sources")), Path("/etc/apt/sources.list")]:
        for word in file.read_text(encoding="utf-8").split() if file.is_file() else ():
            if word.startswith("http") and word.rstrip("/").endswith("/debian"):
                return word
    raise SystemExit("no Debian mirror in apt's sources: install Docker Compose v2 yourself")


if __name__ == "__main__":
    print(find_compose())
