"""One llama-server process that serves one model: start, proof, questions, stop."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from local_ai_suite.errors import LoadFailed
from local_ai_suite.hardware import busy_seconds, cpu_seconds, private_bytes
from local_ai_suite.messages import tr
from local_ai_suite.process import ChildProcess, Clock, Exit, SystemClock, answers
from local_ai_suite.wire.upstream import Upstream, UpstreamError, UpstreamTimeout

from .command import arguments, environment
from .pace import Counters
from .readback import Actual, CardFull, LogFacts, failure_reason, generated
from .slots import Kept, slot_file

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.catalog.catalog import ModelEntry
    from local_ai_suite.engines.find import FoundEngine
    from local_ai_suite.fit import FitPlan

    from .abilities import TemplateMemory
    from .placement import Placement
    from .slots import SlotStore

logger = logging.getLogger(__name__)

# /health, /props and /slots answer from memory, but between two batches: a long prompt's batch on
# a slow CPU takes seconds.
ASK_SECONDS = 10.0
# Asked of an idle engine, which answers at once; who waits for its room waits for this, too.
METRICS_SECONDS = 2.0
# A readiness probe that hangs must not hide a process that has died.
PROBE_SECONDS = 2.0
# Between two batches the engine answers; on a slow CPU one batch of a large model takes minutes.
STALL_SECONDS = 300.0
# With every layer on the GPU a batch takes seconds; what does not answer for a minute hangs (a
# driver after a laptop's sleep).
STALL_SECONDS_GPU = 60.0
# Nothing at all for this long while a request is under way; an answer that is not streamed may take
# an hour on a slow CPU, and a stalled engine is found by STALL_SECONDS.
SILENCE_SECONDS = 3600.0
MAX_ANSWER = 4 * 1024 * 1024
# Stopping a service must take no more than 10 s in all, and answers under way get 5 s of them.
STOP_SECONDS = 4.0
# The port was free when it was chosen; somebody may take it before the engine binds it.
PORT_TRIES = 3
_PORT_TAKEN = ("couldn't bind", "could not bind", "address already in use", "failed to listen")
_LOG_LINES = 30
# A slot's state of 1 GiB on a disk of 200 MB/s takes 5 s; who waits for the room waits that long.
SLOT_SECONDS = 15.0


class EngineProcess(Protocol):
    """What the pool needs of an engine process; tests bring their own."""

    @property
    def pid(self) -> int | None: ...
    @property
    def upstream(self) -> Upstream: ...
    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]: ...

    async def ready(self) -> Actual: ...
    async def exited(self) -> Exit: ...
    @property
    def kept(self) -> Kept | None: ...
    @property
    def counters_at_start(self) -> Counters | None: ...

    async def stop(self) -> None: ...
    async def park(self) -> None: ...
    async def responsive(self) -> bool: ...
    async def counters(self) -> Counters | None: ...
    def taken(self) -> dict[str, int]: ...
    def log_tail(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Launch:
    """What every engine process of a service shares."""

    found: FoundEngine
    log_folder: Path
    slots: SlotStore | None
    templates: TemplateMemory | None
    cuda_visible_devices: str | None
    load_seconds: float
    stall_seconds: float = STALL_SECONDS
    slot_seconds: float = SLOT_SECONDS

    def __call__(self, entry: ModelEntry, placement: Placement) -> EngineProcess:
        return LlamaServer(self, entry, placement)


class LlamaServer:
    """An engine process. ``ready()`` starts it; raises LoadFailed with the engine's own reason."""

    def __init__(
        self, launch: Launch, entry: ModelEntry, placement: Placement, *, clock: Clock | None = None
    ) -> None:
        self._launch = launch
        self._entry = entry
        self._placement = placement
        self._clock = clock or SystemClock()
        # A key of its own per process: only this service can talk to it, and it never stands in
        # the arguments, which every user of the machine can read.
        self._key = secrets.token_urlsafe(24)
        self._facts = LogFacts()
        self._slots: Path | None = None
        self.kept: Kept | None = None
        self.counters_at_start: Counters | None = None
        self._child: ChildProcess | None = None
        self._upstream: Upstream | None = None
        self._stopping = False
        self.headers = ((b"authorization", f"Bearer {self._key}".encode()),)

    @property
    def pid(self) -> int | None:
        return self._child.pid if self._child is not None else None

    @property
    def upstream(self) -> Upstream:
        assert self._upstream is not None, "asked before it was ready"  # noqa: S101
        return self._upstream

    def log_tail(self) -> list[str]:
        return self._child.log_tail() if self._child is not None else []

    async def ready(self) -> Actual:
        """Start it and wait until it serves; what it really did. Raises LoadFailed."""
        await self._find_place()
        for _ in range(PORT_TRIES):
            if self._stopping:
                raise self._failed(Exit(None, asked=True, reason="it was stopped"))
            try:
                self._child, self._upstream = self._make()
            except OSError as exc:  # no descriptor left, say
                raise self._failed(Exit(None, asked=False, reason=str(exc))) from exc
            ended = await self._child.ready()
            if ended is None:
                break
            tail = self._child.log_tail()
            if not any(word in line.lower() for line in tail[-50:] for word in _PORT_TAKEN):
                raise self._failed(ended)
        else:
            raise self._failed(Exit(None, asked=False, reason="no free port was found for it"))
        try:
            actual = await self._read_back()
        except UpstreamError as exc:
            raise self._failed(Exit(None, asked=False, reason=exc.message)) from exc
        try:
            await self._bring_back(actual.parallel or 1)
        except OSError as exc:
            self.kept = Kept(problem=str(exc))
            logger.warning("%s: conversations did not come back: %s", self._entry.name, exc)
        if self._launch.templates is not None:
            await self._launch.templates.learn(self._entry, self.ask)
        self.counters_at_start = self._counters(0.0, 0.0)
        return actual

    async def exited(self) -> Exit:
        assert self._child is not None, "asked before it was ready"  # noqa: S101
        return await self._child.exited()

    async def stop(self) -> None:
        self._stopping = True
        if self._child is not None:
            await self._child.stop()
        if self._upstream is not None:
            self._upstream.close()

    async def park(self) -> None:
        """Keep what its slots know, then stop it. What can't be kept is lost, with a word."""
        try:
            if self._slots is not None and self._child is not None and self._child.exit is None:
                await self._keep(self._slots)
        except OSError as exc:
            self.kept = Kept(problem=str(exc))
            logger.warning("%s: conversations are not kept: %s", self._entry.name, exc)
        finally:
            await self.stop()

    async def _keep(self, place: Path) -> None:
        store = self._launch.slots
        assert store is not None  # noqa: S101
        projected = sum(item.parts.kv_cache for item in self._placement.fit.devices)
        began = self._clock.now()
        tokens = size = 0
        problem: str | None = "no room on the disk for its conversations"
        try:
            if await asyncio.to_thread(store.make_room, place, projected):
                problem = None
            for number in range(self._placement.fit.parallel if problem is None else 0):
                saved, problem = await self._slot(number, "save", slot_file(place, number).name)
                if saved.get("n_saved"):
                    await asyncio.to_thread(_make_private, place)
                else:
                    await asyncio.to_thread(_remove, place, number)
                tokens += saved.get("n_saved", 0)
                size += saved.get("n_written", 0)
                if problem is not None:
                    break
        finally:
            store.done(place)
        self.kept = Kept(tokens, size, self._clock.now() - began, problem)
        if problem is not None:
            logger.warning("%s: conversations are not kept: %s", self._entry.name, problem)

    async def _bring_back(self, slots: int) -> None:
        """Restore the slots that were saved; each file is used once."""
        if self._slots is None:
            return
        began = self._clock.now()
        tokens = size = 0
        problem: str | None = None
        for number in range(slots):
            file = slot_file(self._slots, number)
            if not file.is_file():
                continue
            restored, trouble = await self._slot(number, "restore", file.name)
            tokens += restored.get("n_restored", 0)
            size += restored.get("n_read", 0)
            problem = problem or trouble
            await asyncio.to_thread(_remove, self._slots, number)
        if tokens or problem:
            self.kept = Kept(tokens, size, self._clock.now() - began, problem)
        if problem is not None:
            logger.warning("%s: conversations did not come back: %s", self._entry.name, problem)

    async def _slot(self, number: int, action: str, name: str) -> tuple[dict[str, int], str | None]:
        """One slot's save or restore: what llama-server tells of it, and what went wrong."""
        body = orjson.dumps({"filename": name})
        target = f"/slots/{number}?action={action}"
        try:
            status, answer = await self.ask("POST", target, body, seconds=self._launch.slot_seconds)
        except UpstreamError as exc:
            return {}, exc.message
        if status == 200 and isinstance(answer, dict):
            return {key: value for key, value in answer.items() if isinstance(value, int)}, None
        error = answer.get("error") if isinstance(answer, dict) else None
        said = error.get("message") if isinstance(error, dict) else None
        return {}, f"the engine says {status}: {said or 'nothing more'}"

    async def responsive(self) -> bool:
        """Whether its main loop turns: ``/slots`` is answered there, ``/health`` is not."""
        try:
            bound = stall_bound(self._placement.fit, self._launch.stall_seconds)
            await self.ask("GET", "/slots", seconds=bound)
        except UpstreamError:
            # Its death is told elsewhere.
            return self._child is not None and self._child.exit is not None
        return True

    async def counters(self) -> Counters | None:
        """What it has generated so far; ``None`` if it does not say."""
        try:
            text = await self._read("GET", "/metrics", b"", METRICS_SECONDS)
        except UpstreamError:
            return None
        found = generated(text[1].decode("utf-8", "replace"))
        if found is None:
            return None
        return self._counters(*found)

    def taken(self) -> dict[str, int]:
        """Bytes by device that it keeps from others now, never more than it was planned to hold.

        Weights that are mapped from their file count as available memory, and a plan may hold more
        than was needed: what is free is only known when neither is counted twice.
        """
        need = self._placement.need
        private = None if self.pid is None else private_bytes(self.pid)
        found: dict[str, int] = {}
        for device in self._placement.fit.devices:
            parts, planned = device.parts, need.get(device.name, 0)
            if device.name != "CPU":
                logged = sum(n for (on, _), n in self._facts.buffers.items() if on == device.name)
                found[device.name] = min(planned, logged + parts.overhead) if logged else planned
            elif private is not None:
                found["CPU"] = min(planned, private)
            else:
                mapped = parts.weights if self._placement.fit.mmap else 0
                found["CPU"] = max(0, planned - mapped)
        return found

    def _counters(self, tokens: float, seconds: float) -> Counters:
        own = None if self.pid is None else cpu_seconds(self.pid)
        return Counters(self._clock.now(), tokens, seconds, own, busy_seconds())

    async def ask(
        self, method: str, target: str, body: bytes = b"", *, seconds: float = ASK_SECONDS
    ) -> tuple[int, Any]:
        """One small question. Status and JSON (``None`` if it is none). Raises UpstreamError."""
        status, answer = await self._read(method, target, body, seconds)
        try:
            return status, orjson.loads(answer)
        except orjson.JSONDecodeError:
            return status, None

    async def _read(
        self, method: str, target: str, body: bytes, seconds: float
    ) -> tuple[int, bytes]:
        headers = [*self.headers, (b"content-type", b"application/json")]
        try:
            async with asyncio.timeout(seconds):
                exchange = await self.upstream.start(method, target, headers, body)
                try:
                    await exchange.head()
                    return exchange.status, await exchange.read_all(MAX_ANSWER)
                finally:
                    exchange.close()
        except TimeoutError as exc:
            raise UpstreamTimeout(f"{target} was not answered within {seconds:g} s.") from exc

    async def _find_place(self) -> None:
        """Where its conversations are kept: samples of its file are read, which a disk may make
        slow. Without such a place it is served without."""
        store = self._launch.slots
        if store is None or self._entry.embeds:
            return
        version = self._launch.found.version or "unknown"
        try:
            self._slots = await asyncio.to_thread(
                store.place, self._entry, self._placement.fit, version
            )
        except OSError as exc:
            self.kept = Kept(problem=str(exc))
            logger.warning("%s: conversations will not be kept: %s", self._entry.name, exc)

    def _make(self) -> tuple[ChildProcess, Upstream]:
        port = free_port()
        self._facts = LogFacts()
        launch = self._launch
        command = arguments(
            launch.found,
            self._entry,
            self._placement.fit,
            port=port,
            slot_folder=self._slots,
        )
        env = environment(
            os.environ,
            key=self._key,
            # A model that is planned for the CPU gets no GPU to see: only looking at one would
            # take some 300 MiB of it for a CUDA context.
            cuda_visible_devices=launch.cuda_visible_devices
            if self._placement.fit.uses_gpu
            else "",
            parent=os.getpid(),
        )
        upstream = Upstream("127.0.0.1", port, silence_timeout_s=SILENCE_SECONDS)
        child = ChildProcess(
            f"engine {self._entry.name}",
            command,
            probe=lambda: answers(port, "/health", PROBE_SECONDS),  # 503 while it loads
            ready_seconds=launch.load_seconds,
            env=env,
            log_file=launch.log_folder / f"engine-{safe_name(self._entry.name)}.log",
            on_line=self._facts.read,
            stop_seconds=STOP_SECONDS,
            clock=self._clock,
        )
        return child, upstream

    async def _read_back(self) -> Actual:
        status, props = await self.ask("GET", "/props")
        if status != 200 or not isinstance(props, dict):
            raise UpstreamError(f"its /props answered {status}")
        settings = props.get("default_generation_settings")
        n_ctx = settings.get("n_ctx") if isinstance(settings, dict) else None
        slots = props.get("total_slots")
        return Actual(
            context_per_slot=n_ctx if isinstance(n_ctx, int) else self._facts.context_per_slot,
            parallel=slots if isinstance(slots, int) else None,
            layers_offloaded=self._facts.layers_offloaded,
            layers_total=self._facts.layers_total,
            cpu_features=self._facts.cpu_features,
            buffers=dict(self._facts.buffers),
        )

    def _failed(self, ended: Exit) -> LoadFailed:
        whole = self.log_tail()
        tail, said = whole[-_LOG_LINES:], failure_reason(whole)
        why = f"{said} ({ended.reason})" if said else ended.reason
        if attempted := self._facts.attempted():
            return CardFull(
                tr("{name} did not load: {why}", name=self._entry.name, why=why),
                hint=tr(
                    "The card has no room for it: set a smaller CTX_SIZE or N_GPU_LAYERS in .env, "
                    "or remove them, and the plan finds what fits."
                ),
                attempted=attempted,
                model=self._entry.name,
                path=str(self._entry.path),
                log=tail,
            )
        return LoadFailed(
            tr("{name} did not load: {why}", name=self._entry.name, why=why),
            hint=tr("The engine's log: {log_folder}", log_folder=self._launch.log_folder),
            model=self._entry.name,
            path=str(self._entry.path),
            log=tail,
        )


def stall_bound(plan: FitPlan, on_cpu: float) -> float:
    """Seconds without an answer after which an engine hangs; ``on_cpu``: where the CPU works."""
    all_on_gpu = plan.n_gpu_layers >= plan.gpu_layers_max and not plan.n_cpu_moe
    return min(on_cpu, STALL_SECONDS_GPU) if all_on_gpu else on_cpu


def _make_private(place: Path) -> None:
    """The engine writes with its own umask; the folder is private already, the files follow."""
    for path in place.iterdir():
        path.chmod(0o600)


def _remove(place: Path, number: int) -> None:
    """A slot's file and its companions (checkpoints)."""
    for path in place.glob(f"{slot_file(place, number).name}*"):
        path.unlink(missing_ok=True)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def safe_name(name: str) -> str:
    """``name`` as a file name."""
    return "".join(char if char.isalnum() or char in "-._" else "_" for char in name)[:80]
