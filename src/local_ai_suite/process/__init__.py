"""Child processes: the only way in which the suite keeps a program alive.

``child`` is one process from its start to its end, ``keeper`` starts one again when it ends,
``restarts`` says after how long, ``output`` is what becomes of its words, ``ready`` asks it over
HTTP whether it serves, ``spawning`` starts it and ``trees`` ends it with all its descendants.
"""

from __future__ import annotations

from .child import ChildProcess, ChildState, Clock, Exit, Health, SystemClock, ended
from .keeper import Keeper
from .output import OwnLog
from .ready import answers
from .spawning import Process, Spawner, spawner
from .trees import end_all, is_alive, stop_tree, wait_gone

__all__ = [
    "ChildProcess", "ChildState", "Clock", "Exit", "Health", "Keeper", "OwnLog", "Process",
    "Spawner", "SystemClock", "answers", "end_all", "ended", "is_alive", "spawner", "stop_tree",
    "wait_gone",
]  # fmt: skip
