"""Run a command in a network namespace that has nothing but loopback.

    python empty_network.py COMMAND...

On stderr, at the end: how many packets wanted to leave (``OutNoRoutes`` of /proc/net/snmp: each
connection attempt and each DNS question to another machine is one). Exit code: the command's.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS, IFF_UP = 0x8913, 0x8914, 0x1


def leave_the_network() -> None:
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    flags = CLONE_NEWNET if user == 0 else CLONE_NEWNET | CLONE_NEWUSER
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "no network namespace can be had here")
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket() as handle:
        request = struct.pack("16sh", b"lo", 0)
        (flags,) = struct.unpack_from("16xh", fcntl.ioctl(handle, SIOCGIFFLAGS, request))
        fcntl.ioctl(handle, SIOCSIFFLAGS, struct.pack("16sh", b"lo", flags | IFF_UP))


def wanted_to_leave() -> int:
    rows = [
        line.split()
        for line in Path("/proc/net/snmp").read_text().splitlines()
        if line.startswith("Ip:")
    ]
    six = dict(line.split() for line in Path("/proc/net/snmp6").read_text().splitlines())
    four = dict(zip(rows[0], rows[1], strict=True))
    return int(four["OutNoRoutes"]) + int(six["Ip6OutNoRoutes"])


leave_the_network()
code = subprocess.call(sys.argv[1:])
print(f"packets that wanted to leave: {wanted_to_leave()}", file=sys.stderr)
sys.exit(code)
