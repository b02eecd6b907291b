"""The engine service's parts put together: settings, catalog, engine, planner, pool."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_ai_suite import hardware
from local_ai_suite.catalog.catalog import Catalog, configured_models, find_ggufs
from local_ai_suite.engines.find import (
    FoundEngine,
    find_engine,
    free_on_devices,
    look_at_devices,
)
from local_ai_suite.errors import EngineError, SuiteError
from local_ai_suite.fit import correction, free_for_engine

from .abilities import TemplateMemory
from .bandwidth import MemorySpeed
from .learning import FitMemory
from .llama_server import Launch
from .model import Model, ModelUnknown
from .placement import FitPlanner, capacity
from .pool import Pool
from .room import Learner, Room
from .slots import SlotStore

if TYPE_CHECKING:
    from collections.abc import Mapping

    from local_ai_suite.hardware import Hardware
    from local_ai_suite.paths import Paths
    from local_ai_suite.settings import Settings
    from local_ai_suite.templates import Abilities

    from .lease import Lease
    from .ledger import Bytes

logger = logging.getLogger(__name__)

# How long a broken exchange waits for word of its engine's death. It comes within milliseconds, and
# within a second or two on a machine that is overloaded, which is when engines are ended. Only an
# engine that lives on after it broke an answer makes a client wait this long for the error.
CAUSE_SECONDS = 3.0

Signature = tuple[tuple[str, int, int], ...]


class EngineService:
    """Owns the pool and knows when the models folder has changed."""

    def __init__(
        self,
        settings: Settings,
        paths: Paths,
        *,
        catalog: Catalog,
        found: FoundEngine,
        slots: SlotStore,
        templates: TemplateMemory,
        planner: FitPlanner,
        pool: Pool,
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.pool = pool
        self.found = found
        self.templates = templates
        self._settings = settings
        self._paths = paths
        self._catalog = catalog
        self._slots = slots
        self._planner = planner
        self._warnings = warnings
        self._seen = _signature(settings, paths)
        self._refreshing = asyncio.Lock()

    @classmethod
    async def create(
        cls, settings: Settings, paths: Paths, *, room: Bytes | None = None
    ) -> EngineService:
        """Read everything there is to know; starts no engine. Raises SuiteError.

        ``room`` replaces what is measured: the bytes that models may hold per device.
        """
        paths.ensure_state()
        catalog, found, machine = await asyncio.gather(
            asyncio.to_thread(configured_models, settings, paths),
            asyncio.to_thread(find_engine, settings, paths),
            asyncio.to_thread(hardware.detect),
        )
        for problem in catalog.problems:
            logger.warning("passed over: %s", problem)
        logger.info("engine: %s %s (%s)", " ".join(found.command), found.version, found.reason)
        slots = SlotStore(paths.state / "slots")
        slots.clear()  # what a killed service left; it may have been another version
        templates = TemplateMemory(paths.state / "templates", found.version or "unknown")
        launch = Launch(
            found=found,
            log_folder=paths.logs,
            slots=slots,
            templates=templates,
            cuda_visible_devices=settings.cuda_visible_devices,
            load_seconds=settings.load_timeout,
        )
        gpu = found.gpu is not False
        if gpu:
            seen = free_on_devices(found.devices)
            machine = free_for_engine(machine, seen, settings.cuda_visible_devices)
        measured = capacity(machine, settings, engine_has_gpu=gpu)
        memory = FitMemory(paths.state)
        planner = FitPlanner(settings, machine, gpu, lessons=memory.record)
        room_now = Room(
            planner, MemorySpeed(paths.state, machine), lambda: look_at_devices(found, settings)
        )
        notes = Learner(memory, planner, room_now)
        pool = Pool(
            catalog.entries,
            capacity=measured if room is None else room,
            placer=planner,
            launch=launch,
            measure=room_now if room is None else None,
            notes=notes,
            keep_alive=settings.keep_alive,
            on_misfit=settings.on_misfit,
        )
        notes.used = pool.ledger.used
        warnings = gpu_warnings(machine, found, settings)
        for warning in warnings:
            logger.warning("%s", warning)
        return cls(
            settings, paths, catalog=catalog, found=found, slots=slots,
            templates=templates, planner=planner,
            pool=pool, warnings=warnings,
        )  # fmt: skip

    @property
    def default(self) -> Model:
        return self.pool.find(self._catalog.default.name)

    @property
    def left_out(self) -> Mapping[str, str]:
        """Files that lie in the folder and cannot be served: by their name, why."""
        return self._catalog.left_out

    async def find(self, name: str) -> Model:
        """The model called ``name``; looks at the folder again before it says no.

        Raises ModelUnknown; for a file that is there and left out, with the reason.
        """
        try:
            return self.pool.find(name)
        except ModelUnknown:
            await self.refresh()
            if name not in self._catalog.by_name and (why := self.left_out.get(name)) is not None:
                raise ModelUnknown(
                    f"The model {name!r} is there, but it cannot be served: {why}.",
                    hint="`lais models pull` goes on with an unfinished download.",
                ) from None
            return self.pool.find(name)

    async def admit(self, model: Model) -> Lease:
        """``model`` for one request, loaded anew if its file was replaced meanwhile."""
        if model.was_replaced:
            await self.refresh()
            self.pool.retire(model)
        return await self.pool.acquire(model)

    async def refresh(self) -> None:
        """Take up new files and a changed ``models.toml``. A broken catalog changes nothing."""
        async with self._refreshing:  # who comes meanwhile waits for the new catalog, too
            seen = await asyncio.to_thread(_signature, self._settings, self._paths)
            if seen != self._seen:
                await self._read_anew()
                self._seen = seen

    async def _read_anew(self) -> None:
        try:
            catalog = await asyncio.to_thread(configured_models, self._settings, self._paths)
        except SuiteError as exc:
            logger.warning("the models folder changed, and cannot be read: %s", exc.message)
            return
        self._catalog = catalog
        self.pool.set_entries(catalog.entries)
        self.pool.events.send("models", names=sorted(catalog.by_name))

    async def cause(self, lease: Lease, error: SuiteError) -> SuiteError:
        """Why an exchange broke: the engine's death if it died, else ``error``."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CAUSE_SECONDS):
                ended = await lease.engine.exited()
                if self.pool.closing:
                    return EngineError("The engine service is stopping.")
                # The pool stops an engine under a request only when it stalls, and has said so.
                reason = lease.model.last_death if ended.asked else ended.reason
                return EngineError(f"The engine of {lease.model.name} died: {reason}.")
        return error

    def running(self) -> dict[str, Any]:
        """``GET /running``."""
        pool = self.pool
        return {
            "engine": {
                "source": self.found.source,
                "command": list(self.found.command),
                "version": self.found.version,
                "gpu": self.found.gpu,
                "reason": self.found.reason,
            },
            "capacity_bytes": dict(pool.ledger.capacity),
            "used_bytes": pool.ledger.used(),
            "learned_bytes": max(
                (correction(self._planner.lessons, model.entry.path.name) for model in pool.models),
                default=0,
            ),
            "memory_bytes_per_second": self._planner.memory_speed,
            "models": [
                {**pool.facts(model), "template": _as_dict(self.templates.get(model.entry))}
                for model in pool.models
            ],
            "problems": list(self._catalog.problems),
            "warnings": list(self._warnings),
        }

    async def close(self) -> None:
        await self.pool.close()
        self._slots.clear()


def _as_dict(abilities: Abilities | None) -> dict[str, Any] | None:
    return abilities.as_dict() if abilities is not None else None


def gpu_warnings(machine: Hardware, found: FoundEngine, settings: Settings) -> tuple[str, ...]:
    """A GPU that is there while the engine can't use it must not go by in silence, nor one that it
    could use and that nothing is planned for."""
    visible = machine.visible(settings.cuda_visible_devices)
    if visible and found.gpu is False:
        names = ", ".join(gpu.name for gpu in visible)
        text = (
            f"{names} is not used: the engine found ({found.source}) has no GPU support, so all "
            "models are planned for the CPU. `lais engine build` makes one with CUDA, or set "
            "LLAMA_SERVER."
        )
        return (text,)
    wanted = settings.cuda_visible_devices != "" and settings.n_gpu_layers != 0
    if found.devices and not machine.gpus and wanted:
        devices = "; ".join(found.devices)
        text = f"{devices} is not used: only NVIDIA's GPUs are planned for as yet; the CPU is used."
        return (text,)
    return ()


def _signature(settings: Settings, paths: Paths) -> Signature:
    """Changes when a file of the models folder or ``models.toml`` does."""
    folder = settings.models_path(paths)
    found: list[tuple[str, int, int]] = []
    for path in (paths.models_toml, *find_ggufs(folder)):
        with suppress(OSError):
            facts = Path(path).stat()
            found.append((str(path), facts.st_size, facts.st_mtime_ns))
    return tuple(found)
