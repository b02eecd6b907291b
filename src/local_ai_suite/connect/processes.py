"""Whether a client runs now: it has read its old configuration, and may write it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Interpreters whose first argument is the program that a person started.
_INTERPRETERS = ("node", "python", "sh", "bash", "electron", "bun")


def is_running(names: Sequence[str], processes: Iterable[Sequence[str]] | None = None) -> bool:
    """``names``: commands of the client. ``processes``: command lines, by default this machine's.

    A client written for Node shows as ``node /usr/bin/qwen``: the script counts too.
    """
    wanted = set(names)
    lines = _this_machines() if processes is None else processes
    return any(name in wanted for line in lines for name in _names(line))


def _names(line: Sequence[str]) -> list[str]:
    words = [word.replace("\\", "/").rpartition("/")[2].lower() for word in line[:2]]
    words = [word.removesuffix(".exe").removesuffix(".js") for word in words]
    return words if words and words[0].startswith(_INTERPRETERS) else words[:1]


def _this_machines() -> Iterable[Sequence[str]]:
    import psutil  # noqa: PLC0415 (slow)

    for process in psutil.process_iter(["cmdline"]):
        found: dict[str, Any] = process.info
        yield found["cmdline"] or ()
