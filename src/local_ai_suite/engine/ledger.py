"""Bytes per device, and which models must go when another one wants to come. Pure.

Devices are named as llama.cpp names them (``CUDA0``, ``CPU``). A model holds its bytes from the
moment its process is started until the process is gone, never shorter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

Bytes = Mapping[str, int]


class Phase(StrEnum):
    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


class Ledger:
    """Who holds how many bytes. Raises ValueError rather than drift."""

    def __init__(self, capacity: Bytes) -> None:
        self.capacity = dict(capacity)
        self._held: dict[str, dict[str, int]] = {}

    def hold(self, name: str, need: Bytes) -> None:
        if name in self._held:
            raise ValueError(f"{name} holds its bytes already")
        if not covers(self.free(), need):
            raise ValueError(f"{name} does not fit")
        self._held[name] = dict(need)

    def release(self, name: str) -> None:
        if self._held.pop(name, None) is None:
            raise ValueError(f"{name} holds nothing")

    def held(self) -> dict[str, dict[str, int]]:
        return {name: dict(need) for name, need in self._held.items()}

    def used(self) -> dict[str, int]:
        return {
            device: sum(need.get(device, 0) for need in self._held.values())
            for device in self.capacity
        }

    def free(self) -> dict[str, int]:
        return minus(self.capacity, self.used())


@dataclass(frozen=True, slots=True)
class View:
    """A model as the decision sees it. Times are seconds of one monotonic clock.

    ``need``: the bytes that it holds, or would hold. ``waiting_since``: when the oldest request
    began to wait for it. ``gentle``: wanted back after a crash, but not at another model's cost.
    ``leaving``: a person asked for its unloading. ``patience``: seconds that its requests wait
    before a busy model is closed for it.
    """

    name: str
    phase: Phase
    need: Bytes
    in_flight: int = 0
    last_used: float = 0.0
    waiting_since: float | None = None
    pinned: bool = False
    keep_alive: float = float("inf")
    gentle: bool = False
    leaving: bool = False
    patience: float = 2.0


@dataclass(slots=True)
class Decision:
    """What to do now. ``closed`` models admit no new request; they are stopped when idle.

    ``refused`` models can never fit: name to reason.
    """

    load: list[str] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    closed: set[str] = field(default_factory=set)
    refused: dict[str, str] = field(default_factory=dict)


def decide(models: Sequence[View], capacity: Bytes, now: float) -> Decision:
    """Which models to load, stop or close to new requests.

    Models are served in the order of their oldest waiting request; one that waits for room keeps
    it from younger ones. Idle models go first, least recently used first; a busy one is closed to
    new requests once the waiting one has lost its patience, and goes when it is idle.
    Nothing is ever stopped with a request in flight.
    """
    decision = Decision()
    _unasked_stops(models, now, decision)
    free = dict(capacity)
    for model in models:
        if model.phase is not Phase.UNLOADED:
            free = minus(free, model.need)
    coming = dict(free)  # what will be free when everything that is on its way out is gone
    for model in models:
        if model.phase is Phase.STOPPING or model.name in decision.stop:
            coming = plus(coming, model.need)
    for wanted in _in_order(models):
        if reason := _never(wanted, models, capacity):
            decision.refused[wanted.name] = reason
            continue
        if covers(free, wanted.need):
            decision.load.append(wanted.name)
        elif wanted.gentle:
            continue
        elif not covers(coming, wanted.need):
            waited = now - (now if wanted.waiting_since is None else wanted.waiting_since)
            victims = _victims(models, wanted, coming, decision, busy=waited >= wanted.patience)
            coming = _send_off(victims, decision, coming)
        # Whether it starts now or waits for room: younger ones may not take what it needs.
        free = minus(free, wanted.need)
        coming = minus(coming, wanted.need)
    return decision


def _send_off(victims: Sequence[View], decision: Decision, coming: Bytes) -> dict[str, int]:
    for victim in victims:
        if victim.in_flight:
            decision.closed.add(victim.name)
        else:
            decision.stop.append(victim.name)
        coming = plus(coming, victim.need)
    return dict(coming)


def next_look(models: Iterable[View], now: float) -> float | None:
    """Seconds until time alone may change the decision; ``None``: never."""
    times: list[float] = []
    for model in models:
        if model.phase is Phase.UNLOADED and model.waiting_since is not None:
            times.append(model.waiting_since + model.patience)
        if model.phase is Phase.READY and not model.in_flight and not model.pinned:
            times.append(model.last_used + model.keep_alive)
    later = [time - now for time in times if now < time < float("inf")]
    return min(later, default=None)


def covers(free: Bytes, need: Bytes) -> bool:
    return all(amount <= free.get(device, 0) for device, amount in need.items() if amount > 0)


def plus(left: Bytes, right: Bytes) -> dict[str, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in {*left, *right}}


def minus(left: Bytes, right: Bytes) -> dict[str, int]:
    return {key: left.get(key, 0) - right.get(key, 0) for key in {*left, *right}}


def _unasked_stops(models: Sequence[View], now: float, decision: Decision) -> None:
    for model in models:
        if model.phase is not Phase.READY:
            continue
        expired = not model.pinned and now - model.last_used >= model.keep_alive
        unwanted = expired and model.waiting_since is None
        if model.leaving:
            decision.closed.add(model.name)
        if (unwanted or model.leaving) and model.in_flight == 0:
            decision.stop.append(model.name)


def _in_order(models: Sequence[View]) -> list[View]:
    waiting = [
        model
        for model in models
        if model.phase is Phase.UNLOADED and model.waiting_since is not None
    ]
    return sorted(waiting, key=lambda model: (model.gentle, model.waiting_since))


def _never(wanted: View, models: Sequence[View], capacity: Bytes) -> str | None:
    if not covers(capacity, wanted.need):
        return f"it needs {show(wanted.need)}, and there are {show(capacity)} in all"
    room = dict(capacity)
    pinned = [m for m in models if m.pinned and m.phase is not Phase.UNLOADED]
    for model in pinned:
        room = minus(room, model.need)
    if not covers(room, wanted.need):
        names = ", ".join(model.name for model in pinned)
        return f"it needs {show(wanted.need)}, and beside the pinned {names} there are {show(room)}"
    return None


def _victims(
    models: Sequence[View], wanted: View, coming: Bytes, decision: Decision, *, busy: bool
) -> list[View]:
    """The fewest of the least recently used that make room; none if even all would not do."""
    candidates = sorted(
        (
            model
            for model in models
            if model.phase is Phase.READY
            and not model.pinned
            and model.name not in decision.stop
            and model.name not in decision.closed
            and (busy or model.in_flight == 0)
        ),
        key=lambda model: (model.in_flight > 0, model.last_used),
    )
    chosen: list[View] = []
    room = dict(coming)
    for model in candidates:
        if covers(room, wanted.need):
            break
        chosen.append(model)
        room = plus(room, model.need)
    if not covers(room, wanted.need):
        return []
    for model in list(chosen):
        without = minus(room, model.need)
        if covers(without, wanted.need):
            chosen.remove(model)
            room = without
    return chosen


def show(need: Bytes) -> str:
    """``CPU 5120 MiB, CUDA0 4096 MiB``"""
    parts = [f"{device} {amount / 2**20:.0f} MiB" for device, amount in sorted(need.items())]
    return ", ".join(parts) or "nothing"
