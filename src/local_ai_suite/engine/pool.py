"""The models that run: loaded when asked for, stopped when idle or for room, proved after loading.

    unloaded -> loading -> ready -> stopping -> unloaded

``ledger.decide`` says what should happen; :class:`Pool` does it. Everything runs on one event loop
and ``_turn`` does not wait, so each decision sees a consistent state. It begins loads and stops;
the task ``_live`` of a model takes its phase on from there, and alone releases its bytes, after its
process is gone.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from local_ai_suite.errors import EngineError, FitError, LoadFailed, SuiteError
from local_ai_suite.process import Clock, SystemClock, restarts

from .events import Events
from .ladder import step_down, stepped
from .lease import Lease
from .ledger import Ledger, Phase, View, decide, next_look, plus
from .model import Model, ModelUnavailable, ModelUnknown, Waiter, file_identity
from .model import facts as model_facts
from .pace import Pace
from .readback import Actual, CardFull, compare
from .watch import look_at_speed, until_gone

if TYPE_CHECKING:
    from local_ai_suite.catalog.catalog import ModelEntry

    from .learning import Notes
    from .ledger import Bytes
    from .llama_server import EngineProcess
    from .placement import Placement, Placer

logger = logging.getLogger(__name__)

# How long a request waits for a busy model's room before that model admits no new ones: as long as
# its own model takes to load, so that a swap costs no more than what was served before it, and a
# wait stays under "number of models times swap". Before the first load nobody knows: two seconds.
PATIENCE = 2.0
PATIENCE_LEAST, PATIENCE_MOST = 0.2, 30.0

Launcher = Callable[["ModelEntry", "Placement"], "EngineProcess"]
# From the bytes that our models really keep from others to the bytes that models may hold in all,
# measured now.
Measure = Callable[["Bytes"], Awaitable[dict[str, int]]]


class Pool:
    """All models of the service. ``launch`` starts an engine process; ``placer`` sizes it."""

    def __init__(
        self,
        entries: Iterable[ModelEntry],
        *,
        capacity: Bytes,
        placer: Placer,
        launch: Launcher,
        measure: Measure | None = None,
        notes: Notes | None = None,
        keep_alive: float,
        on_misfit: Literal["fail", "warn"] = "fail",
        clock: Clock | None = None,
    ) -> None:
        self.ledger = Ledger(capacity)
        self.events = Events()
        self._placer = placer
        self._launch = launch
        self._measure = measure
        self._notes = notes
        self._keep_alive = keep_alive
        self._on_misfit = on_misfit
        self._clock = clock or SystemClock()
        self._models: list[Model] = []
        self._by_name: dict[str, Model] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Task[None] | None = None
        self._looking: asyncio.Task[None] | None = None
        self._closing = False
        self.set_entries(entries)

    # What callers ask

    @property
    def models(self) -> tuple[Model, ...]:
        return tuple(self._models)

    @property
    def closing(self) -> bool:
        return self._closing

    def find(self, name: str) -> Model:
        """Raises ModelUnknown."""
        model = self._by_name.get(name)
        if model is None:
            raise _unknown(name, self._models)
        return model

    async def acquire(self, model: Model, *, again: bool = False) -> Lease:
        """Wait in order until ``model`` is ready and admits a request.

        ``again``: try at once even if the last load failed just now. Raises ModelUnavailable,
        FitError, LoadFailed.
        """
        if model.phase is Phase.UNLOADED:
            await self._look_at_room()  # it may be loaded, or gone, when this returns
        if model.phase is Phase.READY and not model.closed and not model.waiters:
            return self._admit(model, 0.0)
        self._check(model, again=again)
        waiter = Waiter(self._clock.now(), asyncio.get_running_loop().create_future())
        model.waiters.append(waiter)
        self._turn()
        try:
            engine = await waiter.future
        except BaseException:
            # The one who waits is gone; had it been admitted in the same moment, give it back.
            with suppress(ValueError):
                model.waiters.remove(waiter)
            if _succeeded(waiter.future):
                self._release(Lease(self._release, model, waiter.future.result(), 0.0))
            self._turn()
            raise
        return Lease(self._release, model, engine, self._clock.now() - waiter.since)

    async def unload(self, model: Model) -> None:
        """Stop ``model`` when its requests are done; new ones wait and bring it back."""
        model.restart_at = None
        self.retire(model)
        if model.task is not None:
            await asyncio.wait({model.task})

    async def close(self) -> None:
        """Stop everything at once; requests under way get an error."""
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        for model in self._models:
            self._answer_waiters(model, ModelUnavailable("The engine service is stopping."))
        engines = [model.engine for model in self._models if model.engine is not None]
        await asyncio.gather(*(engine.stop() for engine in engines), return_exceptions=True)
        if self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def set_entries(self, entries: Iterable[ModelEntry]) -> None:
        """Take another catalog. A model that runs keeps running unless its entry changed."""
        known = {model.entry.identity: model for model in self._models}
        kept: list[Model] = []
        for entry in entries:
            model = known.pop(entry.identity, None) or Model(entry)
            model.entry = entry
            model.dropped = False
            kept.append(model)
        self._by_name = {name: model for model in reversed(kept) for name in model.entry.names}
        for gone in known.values():
            gone.leaving = gone.dropped = True
            self._answer_waiters(gone, _unknown(gone.name, kept))
            if gone.phase is not Phase.UNLOADED:
                kept.append(gone)
        self._models = kept
        self._turn()

    def retire(self, model: Model) -> None:
        """Stop ``model`` when its requests are done; who asks for it next loads it anew."""
        if model.phase is not Phase.UNLOADED:
            model.leaving = True
            self._turn()

    async def _look_at_room(self) -> None:
        """How much there is for models now. Many who ask at once share one look."""
        if self._measure is not None:
            if self._looking is None or self._looking.done():
                self._looking = asyncio.create_task(self._measure_room(self._measure))
            await asyncio.shield(self._looking)

    async def _measure_room(self, measure: Measure) -> None:
        """Only while nothing comes or goes: what a loading model will take, and what a stopping one
        has not given back, would be counted twice or not at all."""
        held = self.ledger.held()
        if self._is_settled():
            found = await measure(self._taken())
            if self._is_settled() and self.ledger.held() == held:
                self.ledger.capacity = found

    def _taken(self) -> dict[str, int]:
        total = dict.fromkeys(self.ledger.capacity, 0)
        for model in self._models:
            if model.engine is not None:
                total = plus(total, model.engine.taken())
        return total

    def _is_settled(self) -> bool:
        return all(model.phase in {Phase.UNLOADED, Phase.READY} for model in self._models)

    # The turn

    def _turn(self) -> None:
        """Look at everything once and start what should happen. Never waits."""
        if self._closing:
            return
        now = self._clock.now()
        views = [view for model in self._models if (view := self._view(model, now)) is not None]
        decision = decide(views, self.ledger.capacity, now)
        by_key = {model.key: model for model in self._models}
        for model in self._models:
            # One that is stopped now admits nobody either, though it was closed a moment ago.
            closed = model.key in decision.closed or model.key in decision.stop
            was, model.closed = model.closed, closed
            if was and not model.closed:
                self._admit_waiters(model)
        for key, reason in decision.refused.items():
            self._refuse(by_key[key], reason)
        for key in decision.stop:
            self._stop(by_key[key])
        for key in decision.load:
            self._load(by_key[key])
        self._set_timer(views, now)

    def _view(self, model: Model, now: float) -> View | None:
        waiting = model.waiters[0].since if model.waiters else None
        gentle = False
        if waiting is None and model.restart_at is not None and now >= model.restart_at:
            waiting, gentle = model.restart_at, True
        if model.phase is Phase.UNLOADED and waiting is not None:
            try:
                self._place(model)
            except SuiteError as exc:
                self._failed(model, exc)
                return None
            except Exception as exc:  # a defect in the planner is this model's, not everybody's
                logger.exception("planning %s", model.name)
                self._failed(model, FitError(f"{model.name} could not be planned: {exc!r}"))
                return None
        need = model.placement.need if model.placement is not None else {}
        own = model.entry.overrides.keep_alive
        return View(
            name=model.key,
            phase=model.phase,
            need=need,
            in_flight=model.in_flight,
            last_used=model.last_used,
            waiting_since=waiting,
            pinned=model.entry.overrides.pinned,
            keep_alive=self._keep_alive if own is None else own,
            gentle=gentle,
            leaving=model.leaving,
            patience=min(PATIENCE_MOST, max(PATIENCE_LEAST, model.load_seconds or PATIENCE)),
        )

    def _place(self, model: Model) -> None:
        """Say where ``model`` goes as things are now. A placement is good for the bytes that were
        free and held when it was made, and for nothing else: whoever waited for it may be gone, and
        others may have come or left. Raises FitError, GgufError."""
        held = self.ledger.held()
        now = (self.ledger.capacity, held)
        if model.placed_for == now:
            return
        model.placed_for = None
        others = {other.name: held[other.key] for other in self._models if other.key in held}
        pinned = {
            other.name: held[other.key]
            for other in self._models
            if other.entry.overrides.pinned and other.key in held
        }
        model.placement = self._placer(model.entry, self.ledger.capacity, others, pinned)
        model.placed_for = now

    def _set_timer(self, views: list[View], now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waits = [next_look(views, now)]
        waits += [m.restart_at - now for m in self._models if m.restart_at and m.restart_at > now]
        soonest = min((wait for wait in waits if wait is not None), default=None)
        if soonest is not None:
            self._timer = asyncio.create_task(self._look_again(soonest))

    async def _look_again(self, seconds: float) -> None:
        await self._clock.sleep(seconds)
        self._timer = None
        self._turn()

    # Requests

    def _admit(self, model: Model, waited: float) -> Lease:
        model.in_flight += 1
        model.pace.busiest = max(model.pace.busiest, model.in_flight)
        model.served += 1
        return Lease(self._release, model, _engine(model), waited)

    def _admit_waiters(self, model: Model) -> None:
        """In the order in which they came."""
        while model.phase is Phase.READY and not model.closed and model.waiters:
            waiter = model.waiters.popleft()
            if not waiter.future.done():
                waiter.future.set_result(self._admit(model, 0.0).engine)

    def _release(self, lease: Lease) -> None:
        model = lease.model
        model.last_used = self._clock.now()
        if model.engine is lease.engine and model.in_flight > 0:
            model.in_flight -= 1
            if model.in_flight == 0:
                self._turn()

    def _check(self, model: Model, *, again: bool) -> None:
        if self._closing:
            raise ModelUnavailable("The engine service is stopping.")
        if model.dropped:
            raise _unknown(model.name, self._models)
        rest = model.retry_at - self._clock.now()
        if again:
            model.retry_at = 0.0
        elif model.failure is not None and rest > 0:
            raise ModelUnavailable(
                model.failure.message,
                hint=f"The next try is due in {rest:.0f} s. {model.failure.hint}".strip(),
                **{**model.failure.details, "retry_after": rest},
            ) from model.failure

    def _answer_waiters(self, model: Model, error: SuiteError) -> None:
        waiters, model.waiters = model.waiters, deque()
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(error)

    def _refuse(self, model: Model, reason: str) -> None:
        self._failed(
            model,
            FitError(
                f"{model.name} does not fit: {reason}.",
                hint="Ask for less context, a smaller quantization, or unpin another model.",
                model=model.name,
            ),
        )

    def _failed(self, model: Model, error: SuiteError) -> None:
        """A load that could not be: all who wait get the reason, the next try waits."""
        model.failures = model.failures.ended(self._clock.now())
        pause = model.failures.delay
        model.failure = error
        model.restart_at = None
        model.retry_at = self._clock.now() + pause
        logger.error("%s: %s", model.name, error.message)
        self.events.send("failed", model=model.name, reason=error.message, retry_seconds=pause)
        self._answer_waiters(model, error)

    # Engines

    def _load(self, model: Model) -> None:
        assert model.placement is not None  # noqa: S101
        self.ledger.hold(model.key, model.placement.need)
        model.phase = Phase.LOADING
        model.restart_at = None
        model.identity = file_identity(model.entry.path)
        model.engine = self._launch(model.entry, model.placement)
        model.task = task = asyncio.create_task(self._live(model, model.engine, model.placement))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _stop(self, model: Model) -> None:
        model.phase = Phase.STOPPING
        self.events.send("stopping", model=model.name)
        model.parking = task = asyncio.create_task(self._park(model, _engine(model)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _park(self, model: Model, engine: EngineProcess) -> None:
        await look_at_speed(model, engine, self._notes)
        await engine.park()

    async def _live(self, model: Model, engine: EngineProcess, placement: Placement) -> None:
        """From the start of an engine process to its end; the only writer of the way back."""
        began = self._clock.now()
        self.events.send("loading", model=model.name)
        error: SuiteError | None = None
        try:
            actual = await engine.ready()
            self._prove(model, placement, actual)
            self._became_ready(model, actual, began)
            ended = await until_gone(model, engine, self._clock, self._notes)
            # One that dies while it is stopped (in a save, say) is not wanted back.
            if not ended.asked and not self._closing and model.phase is not Phase.STOPPING:
                error = self._died(model, ended.reason)
        except SuiteError as exc:
            error = exc
            if not self._closing and model.phase is not Phase.STOPPING:
                if isinstance(exc, CardFull) and step_down(model, placement, exc, self._notes):
                    model.restart_at = self._clock.now()  # who waits goes on waiting
                else:
                    self._failed(model, exc)
        except Exception as exc:
            error = EngineError(f"{model.name}: {exc}")
            logger.exception("loading %s", model.name)
            self._failed(model, LoadFailed(f"{model.name} did not load: {exc!r}"))
        finally:
            try:
                await engine.stop()
                if model.parking is not None:  # it tells what became of the conversations
                    await asyncio.wait({model.parking})
            finally:
                self._gone(model, error)

    def _prove(self, model: Model, placement: Placement, actual: Actual) -> None:
        """Compare with the plan. Raises LoadFailed for a misfit unless ON_MISFIT=warn."""
        model.deviations = (*compare(placement.expected(), actual), *stepped(model, placement))
        model.refused = ()
        if self._notes is not None:
            self._notes.loaded(model.name, placement.fit, actual.buffers)
        for deviation in model.deviations:
            logger.warning("%s is not as planned: %s", model.name, deviation.message)
        failures = [item.message for item in model.deviations if item.failure]
        if failures and self._on_misfit == "fail":
            raise LoadFailed(
                f"{model.name} was loaded, but not as planned: {'; '.join(failures)}",
                hint="`lais doctor` looks for the cause; ON_MISFIT=warn in .env serves it anyway.",
                model=model.name,
            )

    def _became_ready(self, model: Model, actual: Actual, began: float) -> None:
        now = self._clock.now()
        model.actual = actual
        model.pace = Pace(_engine(model).counters_at_start)
        model.speed = model.slowness = None  # a process' own: the last one may have run elsewhere
        model.failures, model.failure, model.retry_at = restarts.LOAD, None, 0.0
        model.loaded_at = model.last_used = now
        model.load_seconds = now - began
        model.phase = Phase.READY
        self.events.send("ready", model=model.name, seconds=round(model.load_seconds, 3))
        self._admit_waiters(model)
        self._turn()

    def _died(self, model: Model, reason: str) -> SuiteError:
        now = self._clock.now()
        model.deaths = model.deaths.ended(now)
        model.last_death = reason
        count = len(model.deaths)
        error = EngineError(f"The engine of {model.name} died: {reason}", model=model.name)
        if not model.deaths.spent:
            model.restart_at = now + model.deaths.delay
        else:
            error = EngineError(
                f"The engine of {model.name} died {count} times in "
                f"{restarts.WINDOW_SECONDS / 60:.0f} minutes, at last: {reason}",
                hint="It is started again on request, after a pause. Its log tells more.",
                model=model.name,
            )
            model.failure = error
            model.retry_at = now + model.deaths.delay
        logger.error("%s", error.message)
        self.events.send("died", model=model.name, reason=reason, deaths=count)
        return error

    def _gone(self, model: Model, error: SuiteError | None) -> None:
        """The process is gone: give back its bytes, whatever happened before."""
        self.ledger.release(model.key)
        model.phase = Phase.UNLOADED
        model.kept = _engine(model).kept
        model.engine = model.task = model.parking = None
        model.actual = None
        model.in_flight = 0
        model.loaded_at = None
        model.closed = False
        model.leaving = False
        if model.dropped:
            self._models.remove(model)
            self._answer_waiters(model, _unknown(model.name, self._models))
        if error is None:
            self.events.send("unloaded", model=model.name)
        elif model.retry_at > self._clock.now():
            self._answer_waiters(model, error)
        self._turn()

    def facts(self, model: Model) -> dict[str, Any]:
        return model_facts(model, self._clock.now())


def _unknown(name: str, models: Iterable[Model]) -> ModelUnknown:
    known = ", ".join(sorted({name for model in models for name in model.entry.names}))
    return ModelUnknown(f"The model {name!r} does not exist.", hint=f"There are: {known}.")


def _engine(model: Model) -> EngineProcess:
    assert model.engine is not None  # noqa: S101
    return model.engine


def _succeeded(future: asyncio.Future[EngineProcess]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
