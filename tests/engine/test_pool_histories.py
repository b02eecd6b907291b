"""The pool under random histories of requests, hang-ups, deaths and failures, on a clock of its
own: the ledger never drifts, nobody waits for ever, nothing is stopped with a request in flight.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local_ai_suite.catalog.models_toml import Override
from local_ai_suite.engine.ledger import Phase
from local_ai_suite.engine.pace import Counters
from local_ai_suite.engine.pool import Pool
from local_ai_suite.engine.readback import Actual, Expected
from local_ai_suite.engine.watch import WATCH_SECONDS
from local_ai_suite.errors import FitError, LoadFailed, SuiteError
from local_ai_suite.process import Exit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

CAPACITY = {"CPU": 100}
LOAD, STOP, SERVE = 1.0, 0.5, 0.7
LONGEST = 600.0  # seconds of the story's own time


class Time:
    """A clock that jumps to the next sleeper when nobody else has anything to do."""

    def __init__(self) -> None:
        self._now = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()
        self._over = False

    def end(self) -> None:
        """The story failed: nobody sleeps any more, so that everything can end."""
        self._over = True
        for _, _, future in self._sleepers:
            if not future.done():
                future.set_result(None)

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        if self._over:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._numbers), future))
        await future

    async def run_until(self, done: asyncio.Future[Any]) -> None:
        while not done.done():
            for _ in range(50):  # let everything that can run, run
                await asyncio.sleep(0)
            if done.done():
                return
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            assert self._sleepers, "everything waits, and nothing will ever happen: a deadlock"
            when, _, future = heapq.heappop(self._sleepers)
            self._now = max(self._now, when)
            assert self._now < LONGEST, "somebody waits beyond every bound"
            future.set_result(None)


@dataclass
class Engine:
    """An engine process without a process."""

    world: World
    name: str
    size: int
    fails: bool

    def __post_init__(self) -> None:
        self.pid = 1
        self.upstream: Any = None
        self.headers = ()
        self.kept = None
        self.looks = 0
        self.others = self.world.others
        self.counters_at_start = Counters(0.0, 0, 0.0, 0.0, 0.0)
        self.stalled = False
        self.gone: asyncio.Future[Exit] = asyncio.get_running_loop().create_future()
        self.in_use = 0
        self.world.alive.append(self)

    async def ready(self) -> Actual:
        await self.world.time.sleep(LOAD)
        if self.fails or self.gone.done():
            raise LoadFailed(f"{self.name} did not load")
        return Actual(context_per_slot=1, parallel=1)

    async def exited(self) -> Exit:
        return await asyncio.shield(self.gone)

    async def stop(self) -> None:
        if not self.gone.done():
            allowed = self.in_use == 0 or self.world.closing or self.stalled
            assert allowed, "stopped with a request in flight"
            await self.world.time.sleep(STOP)
            self.end(asked=True)

    def end(self, *, asked: bool) -> None:
        if not self.gone.done():
            self.gone.set_result(Exit(0, asked=asked, reason="ended"))
            self.world.alive.remove(self)

    async def park(self) -> None:
        await self.stop()

    async def responsive(self) -> bool:
        return not self.stalled

    async def counters(self) -> Counters | None:
        """100 tokens in 33 s since the last look, the machine otherwise at rest."""
        self.looks += 1
        now = self.world.time.now()
        return Counters(now, 100.0 * self.looks, 100 / 3 * self.looks, now, now + self.others * now)

    def taken(self) -> dict[str, int]:
        return {"CPU": self.size}

    def log_tail(self) -> list[str]:
        return []


class World:
    def __init__(self, sizes: Mapping[str, int], pinned: frozenset[str] = frozenset()) -> None:
        self.time = Time()
        self.alive: list[Engine] = []
        self.failing: set[str] = set()
        self.others = 0.0  # cores that other programs use
        self.closing = False
        entries = [
            SimpleNamespace(
                name=name, names=(name,), identity=name,
                path=SimpleNamespace(stat=_no_file, name=name),
                overrides=Override(pinned=name in pinned, mmproj=name),
            )
            for name in sizes
        ]  # fmt: skip
        self.sizes = dict(sizes)
        self.pool = Pool(
            entries,  # type: ignore[arg-type]
            capacity=CAPACITY,
            placer=self._plan,
            launch=self._launch,
            keep_alive=30.0,
            clock=self.time,
        )

    def _plan(self, entry: Any, capacity: Any, *_: Any) -> Any:
        size = self.sizes[entry.name]
        if size > capacity["CPU"]:
            raise FitError(f"{entry.name} does not fit")
        expected = Expected(0, 1, 1)
        fit = SimpleNamespace(tokens_per_second=40.0)
        return SimpleNamespace(
            need={"CPU": size}, expected=lambda: expected, fit=fit, was_refused=False
        )

    def _launch(self, entry: Any, plan: Any) -> Any:
        return Engine(self, entry.name, plan.need["CPU"], entry.name in self.failing)

    def check(self) -> None:
        """What must hold at every moment."""
        held = self.pool.ledger.held()
        assert sum(need["CPU"] for need in held.values()) <= CAPACITY["CPU"]
        for model in self.pool.models:
            assert (model.key in held) == (model.phase is not Phase.UNLOADED)
            assert model.in_flight >= 0
            if model.phase is Phase.READY and not model.closed:
                assert not model.waiters, "a model that could serve lets somebody wait"
        # Never more processes than the ledger knows of: no engine outlives its bytes.
        assert sum(engine.size for engine in self.alive) <= sum(n["CPU"] for n in held.values())

    def tell(self, story: Callable[[], Awaitable[Any]]) -> Any:
        async def all_of_it() -> Any:
            task = asyncio.ensure_future(story())
            await self.time.run_until(task)
            result = task.result()
            self.closing = True
            closing = asyncio.ensure_future(self.pool.close())
            await self.time.run_until(closing)
            assert not self.alive, "an engine was orphaned"
            assert not self.pool.ledger.held(), "bytes were never given back"
            return result

        async def ended() -> Any:
            try:
                return await all_of_it()
            finally:
                self.closing = True
                self.time.end()

        return asyncio.run(ended())

    async def request(self, name: str, seconds: float = SERVE) -> float:
        """Ask once; how long it waited."""
        began = self.time.now()
        lease = await self.pool.acquire(self.pool.find(name))
        waited = self.time.now() - began
        engine: Any = lease.engine
        engine.in_use += 1
        try:
            self.check()
            served = asyncio.ensure_future(self.time.sleep(seconds))
            await asyncio.wait({served, engine.gone}, return_when=asyncio.FIRST_COMPLETED)
            served.cancel()
        finally:
            engine.in_use -= 1
            lease.release()
            self.check()
        return waited


def _no_file() -> Any:
    raise FileNotFoundError


NAMES = ("a", "b", "c", "d")
SIZES = {"a": 40, "b": 50, "c": 60, "d": 30}
steps = st.lists(
    st.tuples(
        st.sampled_from(
            ["ask", "ask", "ask", "ask", "leave", "kill", "fail", "heal", "unload", "load", "wait"]
        ),
        st.sampled_from(NAMES),
        st.floats(0, 4, allow_nan=False),
    ),
    max_size=40,
)


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps)
def test_no_history_makes_the_ledger_drift_or_anybody_wait_for_ever(
    history: list[tuple[str, str, float]],
) -> None:
    world = World(SIZES)

    async def story() -> None:
        asked: list[asyncio.Task[Any]] = []
        for what, name, seconds in history:
            await _step(world, asked, what, name, seconds)
            world.check()
        world.failing.clear()
        results = await asyncio.gather(*asked, return_exceptions=True)
        for result in results:
            known = (float, SuiteError, asyncio.CancelledError, type(None))
            assert isinstance(result, known), repr(result)

    world.tell(story)


async def _step(
    world: World, asked: list[asyncio.Task[Any]], what: str, name: str, seconds: float
) -> None:
    pool = world.pool
    if what == "ask":
        asked.append(asyncio.create_task(world.request(name, seconds)))
    elif what == "leave" and asked:
        asked[int(seconds * 10) % len(asked)].cancel()
    elif what == "kill":
        for engine in [engine for engine in world.alive if engine.name == name]:
            engine.end(asked=False)
    elif what == "fail":
        world.failing.add(name)
    elif what == "heal":
        world.failing.discard(name)
    elif what == "unload":
        asked.append(asyncio.create_task(pool.unload(pool.find(name))))
    elif what == "load":
        asked.append(asyncio.create_task(_load(world, name)))
    else:
        await world.time.sleep(seconds)
    await asyncio.sleep(0)


async def _load(world: World, name: str) -> None:
    (await world.pool.acquire(world.pool.find(name), again=True)).release()


def test_sixteen_clients_and_four_models_with_room_for_two_all_get_their_turn() -> None:
    world = World({"a": 50, "b": 50, "c": 50, "d": 50})

    async def client(number: int) -> list[float]:
        return [
            await world.request(NAMES[(number * 7 + turn * 3) % 4], SERVE) for turn in range(12)
        ]

    async def story() -> list[float]:
        waits = await asyncio.gather(*(client(number) for number in range(16)))
        return [wait for each in waits for wait in each]

    waits = world.tell(story)
    assert len(waits) == 16 * 12
    swap = LOAD + STOP
    # The bar of `make bench-pool`, in the story's own time.
    assert max(waits) <= len(NAMES) * swap + SERVE


def test_requests_for_a_loading_model_are_admitted_in_the_order_they_came() -> None:
    world = World(SIZES)
    order: list[int] = []

    async def ask(number: int) -> None:
        lease = await world.pool.acquire(world.pool.find("a"))
        order.append(number)
        lease.release()

    async def story() -> None:
        tasks = []
        for number in range(6):
            tasks.append(asyncio.create_task(ask(number)))
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)

    world.tell(story)
    assert order == list(range(6))


def test_a_busy_model_serves_on_for_the_fair_time_and_then_makes_room() -> None:
    world = World({"a": 80, "b": 80})

    async def story() -> tuple[float, float]:
        stream = [asyncio.create_task(world.request("a", 0.5))]
        await world.time.sleep(1.2)
        other = asyncio.create_task(world.request("b"))
        late: list[float] = []
        for _ in range(40):  # somebody always asks for a, so that it is never idle
            stream.append(asyncio.create_task(world.request("a", 0.5)))
            await world.time.sleep(0.25)
        waited = await other
        late = list(await asyncio.gather(*stream))
        return waited, max(late)

    waited, _ = world.tell(story)
    assert 2.0 <= waited <= 2.0 + 0.5 + STOP + LOAD + 0.1


def test_a_pinned_model_is_never_stopped_for_another() -> None:
    world = World({"a": 80, "b": 80}, pinned=frozenset("a"))

    async def story() -> None:
        await world.request("a")
        with pytest.raises(SuiteError, match="pinned"):
            await world.request("b")
        await world.time.sleep(100)
        assert world.pool.find("a").phase is Phase.READY

    world.tell(story)


def test_all_idle_models_are_gone_after_their_keep_alive() -> None:
    world = World(SIZES)

    async def story() -> None:
        await asyncio.gather(world.request("a"), world.request("b"))
        assert len(world.alive) == 2
        await world.time.sleep(31)
        assert not world.alive

    world.tell(story)


def test_an_engine_that_stalls_under_a_request_is_ended_and_comes_back() -> None:
    world = World(SIZES)

    async def story() -> None:
        stuck = asyncio.create_task(world.request("a", 1e6))
        await world.time.sleep(5)
        world.alive[0].stalled = True
        await stuck
        assert world.time.now() <= 5 + 2 * WATCH_SECONDS
        await world.request("a")
        assert world.pool.find("a").deaths

    world.tell(story)


def test_an_idle_engine_is_not_asked_whether_it_stalls() -> None:
    world = World({"a": 10})

    async def story() -> None:
        await world.request("a")
        world.alive[0].stalled = True
        await world.time.sleep(20)
        assert world.pool.find("a").phase is Phase.READY

    world.tell(story)


async def _three_looks(world: World) -> list[str]:
    """What is told of ``a`` after three looks at its speed, and that it is told no sooner."""
    model = world.pool.find("a")
    for _ in range(4):  # the fourth comes before the third look
        assert model.deviations == ()
        await world.request("a")
        await world.time.sleep(WATCH_SECONDS * 0.9)
    return [item.message for item in model.deviations]


def test_a_speed_far_under_the_plan_is_told_after_three_quiet_looks() -> None:
    world = World({"a": 10})
    assert world.tell(lambda: _three_looks(world)) == [
        "3.0 tokens/s generated at best, projected were 40.0"
    ]


def test_a_speed_beside_other_programs_is_not_held_against_the_plan() -> None:
    world = World({"a": 10})
    world.others = 1.0
    assert world.tell(lambda: _three_looks(world)) == []


def test_another_engine_of_the_model_is_looked_at_anew() -> None:
    world = World({"a": 10})

    async def story() -> None:
        model = world.pool.find("a")
        for _ in range(4):
            await world.request("a")
            await world.pool.unload(model)  # a look is taken here, too
            assert model.deviations == ()
        assert model.speed is not None
        assert model.speed.samples <= 1
        await world.request("a")
        assert model.speed is None, "the process before may have run on another device"

    world.tell(story)


def test_a_model_that_the_catalog_drops_or_renames_loses_nothing() -> None:
    world = World({"a": 40, "b": 40})
    pool = world.pool
    entries = {model.name: model.entry for model in pool.models}

    async def story() -> None:
        await asyncio.gather(world.request("a"), world.request("b"))
        renamed: Any = SimpleNamespace(**{**vars(entries["a"]), "name": "z", "names": ("z",)})
        pool.set_entries([renamed])
        await world.time.sleep(2)
        assert [engine.name for engine in world.alive] == ["a"], "b is gone, a runs under z"
        await world.request("z")
        with pytest.raises(SuiteError, match="does not exist"):
            await world.request("b")

    world.tell(story)


def test_what_is_free_is_looked_at_once_for_all_and_only_while_nothing_comes_or_goes() -> None:
    world = World({"a": 30, "b": 30, "c": 60})
    looks: list[dict[str, int]] = []

    async def measure(used: Mapping[str, int]) -> dict[str, int]:
        looks.append(dict(used))
        await world.time.sleep(0.1)
        return {"CPU": 99}

    world.pool._measure = measure

    async def story() -> None:
        many = [asyncio.create_task(world.request("a")) for _ in range(5)]
        await world.time.sleep(0.5)
        assert looks == [{"CPU": 0}], "five who ask at once share one look"
        assert world.pool.ledger.capacity == {"CPU": 99}
        # What a is about to take is not taken yet: looking now would count it twice.
        many.append(asyncio.create_task(world.request("b")))
        await world.time.sleep(0.2)
        assert len(looks) == 1
        await asyncio.gather(*many)
        await world.request("c")
        assert looks[1:] == [{"CPU": 60}]

    world.tell(story)


def test_a_look_that_was_overtaken_by_a_load_changes_nothing() -> None:
    world = World({"a": 30, "b": 30})

    async def measure(used: Mapping[str, int]) -> dict[str, int]:
        world.pool._load(world.pool.find("b"))
        await world.time.sleep(0.1)
        return {"CPU": 7}

    async def story() -> None:
        await world.request("b")
        await world.pool.unload(world.pool.find("b"))
        world.pool._measure = measure
        await world.request("a")
        assert world.pool.ledger.capacity == CAPACITY

    world.tell(story)


def test_a_model_that_is_loaded_or_dropped_during_a_look_leaves_nobody_waiting() -> None:
    world = World({"a": 30, "b": 30})

    async def measure(_: Mapping[str, int]) -> dict[str, int]:
        await world.time.sleep(5)
        return CAPACITY

    async def die() -> None:
        world.alive[0].end(asked=False)
        await world.time.sleep(0.1)

    async def story() -> None:
        await world.request("a")
        await die()  # it comes back at once
        await world.time.sleep(2 * LOAD)
        await die()  # it comes back in a second
        world.pool._measure = measure
        assert await world.request("a") <= 5.1, "it was loaded while the room was looked at"
        asked = asyncio.create_task(world.request("b"))
        await world.time.sleep(1)
        world.pool.set_entries([world.pool.find("a").entry])
        with pytest.raises(SuiteError, match="does not exist"):
            await asked

    world.tell(story)


def test_a_defect_in_planning_one_model_is_not_everybodys() -> None:
    world = World(SIZES)
    plan = world._plan

    def broken(entry: Any, *more: Any) -> Any:
        return 1 // 0 if entry.name == "a" else plan(entry, *more)

    world.pool._placer = broken

    async def story() -> None:
        with pytest.raises(FitError, match="a could not be planned: ZeroDivisionError"):
            await world.request("a")
        await world.request("b")

    world.tell(story)


def _sized_by_what_is_held(world: World) -> None:
    """``a`` takes all there is, or 60 beside ``b``, which is too much beside it; others as ever."""
    plan = world._plan

    def placed(entry: Any, capacity: Any, held: Any, pinned: Any) -> Any:
        made = plan(entry, capacity, held, pinned)
        if entry.name == "a":
            made.need = {"CPU": 60 if "b" in held else capacity["CPU"]}
        return made

    world.pool._placer = placed


def test_who_hangs_up_while_waiting_leaves_no_placement_for_the_next() -> None:
    world = World({"a": 10, "b": 50})
    _sized_by_what_is_held(world)

    async def story() -> None:
        serving = asyncio.create_task(world.request("b", 20))
        await world.time.sleep(2 * LOAD)
        leaving = asyncio.create_task(world.request("a"))
        await world.time.sleep(0.1)
        leaving.cancel()
        await serving
        await world.pool.unload(world.pool.find("b"))
        await world.request("a")
        assert [engine.size for engine in world.alive] == [100], "all there is now, not 60"

    world.tell(story)


def test_a_placement_of_roomier_times_is_not_refused_but_made_anew() -> None:
    world = World({"a": 10, "b": 50})
    _sized_by_what_is_held(world)
    sizes = iter([100, 100, 70])

    async def measure(_: Mapping[str, int]) -> dict[str, int]:
        return {"CPU": next(sizes, 70)}

    world.pool._measure = measure

    async def story() -> None:
        await world.request("a")
        await world.pool.unload(world.pool.find("a"))
        serving = asyncio.create_task(world.request("b", 20))
        await world.time.sleep(2 * LOAD)
        leaving = asyncio.create_task(world.request("a"))
        await world.time.sleep(0.1)
        leaving.cancel()
        await serving
        await world.pool.unload(world.pool.find("b"))
        await world.request("a")  # 70 are there, and 70 it takes
        assert [engine.size for engine in world.alive] == [70]

    world.tell(story)


def test_a_waiting_model_is_placed_anew_when_another_has_come_or_gone() -> None:
    world = World({"a": 10, "b": 50})
    _sized_by_what_is_held(world)

    async def story() -> None:
        serving = asyncio.create_task(world.request("b", 3))
        await world.time.sleep(2 * LOAD)
        await world.request("a")  # waits for b's room; when b is gone all of it is there
        assert [engine.size for engine in world.alive] == [100]
        await serving

    world.tell(story)
