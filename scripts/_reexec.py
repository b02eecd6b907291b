"""Start a script of this folder in the project's own environment, whatever Python called it.

Written for any Python from 3.6 on: it runs before the suite's own version is there.
"""

import importlib.util
import os
import subprocess
import sys

PROJECT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
NO_ENVIRONMENT = 3  # the same code as a wrong setting, see local_ai_suite/errors.py
_GUARD = "LAIS_REEXECUTED"  # set across the jump, so that a broken .venv cannot loop


def environment_python():
    """The project's interpreter, or None when there is no .venv, or half of one.

    `lais` is what an installation puts there last.
    """
    folder, suffix = ("Scripts", ".exe") if os.name == "nt" else ("bin", "")
    place = os.path.join(PROJECT, ".venv", folder)  # noqa: PTH118
    python, lais = (os.path.join(place, name + suffix) for name in ("python", "lais"))  # noqa: PTH118
    return python if os.path.exists(python) and os.path.exists(lais) else None  # noqa: PTH110


def _inside():
    return os.path.realpath(sys.prefix) == os.path.realpath(os.path.join(PROJECT, ".venv"))  # noqa: PTH118


def enter_environment():
    """Return inside the project's environment; else re-execute there, or say how to make it."""
    if _inside():
        os.environ.pop(_GUARD, None)
        return
    python = environment_python()
    if python and _GUARD not in os.environ:
        os.environ[_GUARD] = "1"
        command = [python] + sys.argv  # noqa: RUF005 (Python 3.6 reads this file too)
        if os.name == "nt":  # there execv returns to the shell before the program has ended
            sys.exit(subprocess.call(command))
        os.execv(python, command)  # noqa: S606
    if sys.version_info >= (3, 11) and importlib.util.find_spec("local_ai_suite"):
        return  # installed for this Python, as in a container
    environment = os.path.join(PROJECT, ".venv")  # noqa: PTH118
    sys.stderr.write(
        f"error: the project has no environment yet (looked for {environment}).\n"
        f"  Make it with `make env` in {PROJECT}; `make up-p1` does that too.\n"
    )
    sys.exit(NO_ENVIRONMENT)
