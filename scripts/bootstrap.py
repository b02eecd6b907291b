#!/usr/bin/env python3
"""Make the project's environment (.venv) out of nothing but a Python and the package registry.

Run by the Makefile before anything else, with whatever `python3` the machine has, so this file
keeps to syntax that an old Python 3 can read and tell the truth about. Everything goes into the
project folder: `.cache/bootstrap` (uv, installed with a pinned hash), `.cache/uv` (downloads),
`.venv` (what uv.lock names, with hashes, bytecode compiled so that starting is fast).

    python3 scripts/bootstrap.py          what `make up-p1` needs
    python3 scripts/bootstrap.py --dev    that, and what `make test` and `make lint` need

Exit codes: 0 ready, 2 this Python cannot be used, 3 an installation failed.
"""

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import time

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BOOTSTRAP = os.path.join(PROJECT, ".cache", "bootstrap")
ENVIRONMENT = os.path.join(PROJECT, ".venv")
OLDEST, NEWEST = (3, 11), (3, 14)
UNUSABLE, FAILED = 2, 3
# A mirror that hangs must not hang us; a slow line still gets through 300 MB of packages.
INSTALL_TIMEOUT_S = 1800


def say(text):
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def stop(code, *lines):
    for line in lines:
        say(line)
    sys.exit(code)


def use_a_supported_python():
    """Go on under a Python from OLDEST to NEWEST; say what to install when there is none."""
    if OLDEST <= sys.version_info[:2] <= NEWEST:
        return
    for minor in range(NEWEST[1], OLDEST[1] - 1, -1):
        other = shutil.which("python3.%d" % minor)
        if other:
            os.execv(other, [other, os.path.abspath(__file__), *sys.argv[1:]])
    stop(
        UNUSABLE,
        "error: Python %d.%d to %d.%d is needed; this is %s (%s)."
        % (OLDEST + NEWEST + (sys.version.split()[0], sys.executable)),
        "  " + install_hint(["python3.12", "python3.12-venv"], "python3.12"),
    )


def check_venv():
    """Debian and Ubuntu ship Python without venv and ensurepip."""
    try:
        import ensurepip
        import venv
    except ImportError as missing:
        version = "%d.%d" % sys.version_info[:2]
        stop(
            UNUSABLE,
            "error: %s lacks the module %s." % (sys.executable, missing.name),
            "  " + install_hint(["python%s-venv" % version], "python%s" % version),
        )


def install_hint(debian_packages, other_package):
    family = ""
    try:
        with open("/etc/os-release") as release:
            family = release.read().lower()
    except OSError:
        pass
    if "debian" in family or "ubuntu" in family:
        return "Install it with: sudo apt-get install " + " ".join(debian_packages)
    if "fedora" in family or "rhel" in family:
        return "Install it with: sudo dnf install " + other_package
    if sys.platform == "darwin":
        return "Install it with: brew install " + other_package.replace("python3", "python@3")
    return "Install the package %s with your system's package manager." % other_package


def fingerprint(dev):
    """What the environment was made from; it is made again when this changes.

    Of Pythons its own counts, not the one that calls: that another one has come first on PATH
    (conda, pyenv, a newer system) is no reason to fetch everything again.
    """
    digest = hashlib.sha256()
    for name in ("uv.lock", "pyproject.toml", os.path.join("scripts", "bootstrap.txt")):
        with open(os.path.join(PROJECT, name), "rb") as file:
            digest.update(file.read())
    python = os.path.realpath(os.path.join(ENVIRONMENT, "bin", "python"))
    digest.update(("%s|%s|%s" % (PROJECT, python, dev)).encode())
    return digest.hexdigest()


def is_current(dev):
    """With the development tools in, the environment serves both."""
    try:
        with open(os.path.join(ENVIRONMENT, ".made-from")) as file:
            made_from = file.read().strip()
    except OSError:
        return False
    fits = {fingerprint(True)} if dev else {fingerprint(True), fingerprint(False)}
    there = (os.path.exists(os.path.join(ENVIRONMENT, "bin", name)) for name in ("python", "lais"))
    return made_from in fits and all(there)


def run(words, what, env=None):
    say(what)
    try:
        code = subprocess.call(words, env=env, timeout=INSTALL_TIMEOUT_S, stdout=sys.stderr)
    except subprocess.TimeoutExpired:
        stop(FAILED, "error: gave up after %d minutes: %s" % (INSTALL_TIMEOUT_S // 60, what))
    if code:
        stop(
            FAILED,
            "error: failed (exit code %d): %s" % (code, what),
            "  Is the Python package registry reachable and is there disk space? Try again: "
            "what was downloaded is kept.",
        )


def install_uv():
    uv = os.path.join(BOOTSTRAP, "bin", "uv")
    if not os.path.exists(uv):
        shutil.rmtree(BOOTSTRAP, ignore_errors=True)
        run([sys.executable, "-m", "venv", BOOTSTRAP], "Preparing (1/3): a private Python ...")
        run(
            [
                os.path.join(BOOTSTRAP, "bin", "python"), "-m", "pip", "install", "--quiet",
                "--disable-pip-version-check", "--require-hashes", "--only-binary", ":all:",
                "-r", os.path.join(PROJECT, "scripts", "bootstrap.txt"),
            ],
            "Preparing (2/3): the package installer ...",
        )  # fmt: skip
    return uv


def main():
    dev = "--dev" in sys.argv[1:]
    if is_current(dev):
        return
    use_a_supported_python()
    check_venv()
    with alone():
        if not is_current(dev):  # it may have been made while we waited
            make_environment(dev)


@contextlib.contextmanager
def alone():
    """One bootstrap at a time in this folder; the kernel frees the lock of a dead one."""
    import fcntl  # absent on Windows, where WSL2 is the way

    folder = os.path.join(PROJECT, ".cache")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "bootstrap.lock"), "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another command that is preparing this folder ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def system_certificates():
    import ssl

    places = ssl.get_default_verify_paths()
    return bool(places.cafile and os.path.getsize(places.cafile)) or bool(
        places.capath and os.listdir(places.capath)
    )


def make_environment(dev):
    started = time.time()
    uv = install_uv()
    env = dict(os.environ)
    # uv leaves an empty lock file in the temporary folder: nothing may lie outside this one.
    temporary = os.path.join(PROJECT, ".cache", "tmp")
    os.makedirs(temporary, exist_ok=True)
    env.update(
        TMPDIR=temporary,
        UV_CACHE_DIR=os.path.join(PROJECT, ".cache", "uv"),
        UV_PROJECT_ENVIRONMENT=ENVIRONMENT,
        UV_PYTHON=sys.executable,
        UV_PYTHON_DOWNLOADS="never",
    )
    env.pop("VIRTUAL_ENV", None)
    if system_certificates():
        # As pip does: a company's proxy has its certificate there. Without any there (a bare
        # container), uv's own list is the better one.
        env.setdefault("UV_SYSTEM_CERTS", "true")
    words = [uv, "sync", "--project", PROJECT, "--frozen", "--all-extras", "--compile-bytecode"]
    if not dev:
        words += ["--no-dev", "--inexact"]  # development tools that are in stay in
    if not sys.stderr.isatty():
        words += ["--quiet"]  # progress bars and 86 package names are for a person
    run(words, "Preparing (3/3): engine and gateway, about 150 MB the first time ...", env)
    with open(os.path.join(ENVIRONMENT, ".made-from"), "w") as file:
        file.write(fingerprint(dev))
    say("Prepared in %d s." % (time.time() - started))


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        stop(130, "stopped; run the same command again to go on")
    except OSError as trouble:  # a read-only folder, a full disk, files of another user
        stop(
            FAILED,
            "error: %s" % trouble,
            "  The project folder must be yours, writable, and on a disk with 2 GB of room.",
        )
