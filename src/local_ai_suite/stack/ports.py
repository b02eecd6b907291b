"""Is a port free, and if not: who holds it."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

import psutil

from local_ai_suite.errors import PortInUse
from local_ai_suite.state import MARKER


@dataclass(frozen=True, slots=True)
class PortHolder:
    """The process that listens on a port, as far as this user may see it (else ``None``)."""

    port: int
    pid: int | None
    command: str | None
    project: str | None  # the clone whose run it belongs to

    def describe(self) -> str:
        if self.pid is None:
            return "a process of another user, a container or Windows"
        clone = f", the suite in {self.project}" if self.project else ""
        return f"pid {self.pid} ({self.command}{clone})"


def port_holder(port: int) -> PortHolder | None:
    """Who listens on ``port`` on a loopback or all addresses; ``None`` when it can be bound."""
    if _can_bind(port):
        return None
    for listening, pid in _listening():
        if listening == port:
            return _describe(port, pid)
    return PortHolder(port, None, None, None)


def check_free(key: str, port: int) -> None:
    """Raise :class:`PortInUse` naming the holder and the setting that moves us elsewhere."""
    holder = port_holder(port)
    if holder is not None:
        stop = f"stop it (kill {holder.pid}) or " if holder.pid else ""
        stop = f"run `make down` in {holder.project}, or " if holder.project else stop
        raise PortInUse(
            f"port {port} is held by {holder.describe()}",
            hint=f"Either {stop}set {key}= to another port in .env.",
            port=port,
            pid=holder.pid,
        )


def _can_bind(port: int) -> bool:
    """Whether both loopbacks are free; one that this machine lacks counts as free.

    Binding tells more than connecting: Windows reserves ranges that nobody listens on
    (docker/for-win#3171).
    """
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:
            continue
        with probe:
            # As the servers do: a port in TIME_WAIT is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((address, port))
            except OSError as exc:
                if exc.errno not in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT}:
                    return False
    return True


def _listening() -> list[tuple[int, int | None]]:
    """Port and pid of each listening TCP socket that this user may see."""
    try:
        connections = psutil.net_connections("tcp")
        listening = [c for c in connections if c.status == psutil.CONN_LISTEN and c.laddr]
        return [(c.laddr.port, c.pid) for c in listening]  # type: ignore[union-attr]
    except (psutil.Error, OSError):  # macOS asks for root
        return []


def _describe(port: int, pid: int | None) -> PortHolder:
    if pid is None:
        return PortHolder(port, None, None, None)
    try:
        process = psutil.Process(pid)
        command = " ".join(process.cmdline())[:80] or process.name()
    except psutil.Error:
        return PortHolder(port, pid, None, None)
    try:
        project = process.environ().get(MARKER)
    except (psutil.Error, OSError):
        project = None
    return PortHolder(port, pid, command, project)
