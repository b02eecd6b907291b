"""Is a port free, and if not: who holds it."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from local_ai_suite.errors import PortInUse
from local_ai_suite.hardware import is_wsl
from local_ai_suite.messages import tr

from .state import MARKER

_UNPRIVILEGED = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")


@dataclass(frozen=True, slots=True)
class PortHolder:
    """The process that listens on a port, as far as this user may see it (else ``None``)."""

    port: int
    pid: int | None
    command: str | None
    project: str | None  # the clone whose run it belongs to
    privileged: bool = False  # nobody listens: the system keeps it for root

    def describe(self) -> str:
        """Who holds the port, in words for a message."""
        if self.privileged:
            return tr(
                "the system: ports below {port} are for root",
                port=first_free_port(),
            )
        if self.pid is None:
            if is_wsl():
                return tr("a process of another user, a container or Windows")
            return tr("a process of another user or a container")
        clone = tr(", the suite in {project}", project=self.project) if self.project else ""
        return tr("pid {pid} ({command}{clone})", pid=self.pid, command=self.command, clone=clone)


def port_holder(port: int) -> PortHolder | None:
    """Who listens on ``port`` on a loopback or all addresses; ``None`` when it can be bound."""
    if _can_bind(port):
        return None
    if _is_privileged(port):
        return PortHolder(port, None, None, None, privileged=True)
    for listening, pid in _listening():
        if listening == port:
            return _describe(port, pid)
    return PortHolder(port, None, None, None)


def check_free(key: str | None, port: int, *, by_root: bool = False) -> None:
    """Raise :class:`PortInUse` naming the holder and the setting ``key`` that moves us elsewhere.

    ``by_root``: Docker's engine will listen, which may on every port.
    """
    holder = port_holder(port)
    if holder is not None and holder.privileged:
        if by_root:
            return
        raise PortInUse(
            tr("port {port} is held by {holder}", port=port, holder=holder.describe()),
            hint=tr(
                "Set {key}= to a port from {port} on in .env.",
                key=key,
                port=first_free_port(),
            )
            if key
            else "",
            port=port,
        )
    if holder is not None:
        stop = tr("stop it (kill {pid}) or ", pid=holder.pid) if holder.pid else ""
        stop = (
            tr("run `make down` in {project}, or ", project=holder.project)
            if holder.project
            else stop
        )
        raise PortInUse(
            tr("port {port} is held by {holder}", port=port, holder=holder.describe()),
            hint=tr("Either {stop}set {key}= to another port in .env.", stop=stop, key=key)
            if key
            else tr("Stop it first: this service has no setting for its port."),
            port=port,
            pid=holder.pid,
        )


def _is_privileged(port: int) -> bool:
    """Whether the system keeps ``port`` for root and this user is refused it."""
    if port >= first_free_port():
        return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            return True
        except OSError:
            return False
    return False


def first_free_port() -> int:
    """The first port that every user may have: Linux lets its administrator say."""
    try:
        return int(_UNPRIVILEGED.read_text())
    except (OSError, ValueError):
        return 1024


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
