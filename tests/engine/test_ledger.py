"""Who must go when another model wants to come; the ledger of bytes."""

from __future__ import annotations

from typing import Any

import pytest

from local_ai_suite.engine.ledger import Ledger, Phase, View, decide, next_look

GB = 2**30
CAPACITY = {"CPU": 10 * GB}


def ready(name: str, gb: float, **more: Any) -> View:
    return View(name, Phase.READY, {"CPU": int(gb * GB)}, **more)


def waiting(name: str, gb: float, since: float = 100.0, **more: Any) -> View:
    return View(name, Phase.UNLOADED, {"CPU": int(gb * GB)}, waiting_since=since, **more)


def look(*models: View, now: float = 100.0, capacity: dict[str, int] | None = None) -> Any:
    return decide(models, capacity or CAPACITY, now)


def test_a_model_that_fits_beside_the_others_is_loaded_and_nobody_goes() -> None:
    found = look(ready("a", 4), waiting("b", 5))
    assert found.load == ["b"]
    assert not found.stop
    assert not found.closed


def test_the_least_recently_used_idle_model_goes_first() -> None:
    found = look(ready("old", 4, last_used=1), ready("new", 4, last_used=9), waiting("b", 4))
    assert found.stop == ["old"]
    assert not found.load, "the bytes are free when the process is gone, not before"


def test_only_as_many_go_as_must_and_a_large_one_spares_the_small() -> None:
    found = look(
        ready("small", 1, last_used=1), ready("large", 8, last_used=2), waiting("b", 8)
    )  # fmt: skip
    assert found.stop == ["large"]


def test_a_busy_model_is_left_alone_until_the_other_has_waited_its_time() -> None:
    busy = ready("a", 8, in_flight=2)
    early = look(busy, waiting("b", 8, since=99.0))
    assert not early.stop
    assert not early.closed
    late = look(busy, waiting("b", 8, since=98.0))
    assert late.closed == {"a"}
    assert not late.stop, "a request in flight is never killed for room"


def test_idle_models_go_before_busy_ones_whenever_they_were_used() -> None:
    busy = ready("busy", 5, in_flight=1, last_used=1)
    idle = ready("idle", 5, last_used=50)
    assert look(busy, idle, waiting("b", 5, since=0)).stop == ["idle"]


def test_the_first_who_waits_gets_the_room_and_a_later_small_one_cannot_steal_it() -> None:
    busy = ready("a", 8, in_flight=1)
    found = look(busy, waiting("large", 9, since=97), waiting("small", 2, since=99))
    assert found.closed == {"a"}
    assert found.load == [], "the 2 GiB that are free are on their way to the large one"


def test_a_later_one_that_needs_nothing_of_the_first_is_loaded_meanwhile() -> None:
    capacity = {"CPU": 10 * GB, "CUDA0": 6 * GB}
    gpu = View("gpu", Phase.UNLOADED, {"CUDA0": 5 * GB}, waiting_since=99.5)
    found = look(ready("a", 8, in_flight=1), waiting("b", 8, since=99), gpu, capacity=capacity)
    assert found.load == ["gpu"]


def test_what_is_being_stopped_already_is_counted_as_room_to_come() -> None:
    leaving = View("a", Phase.STOPPING, {"CPU": 8 * GB})
    found = look(leaving, ready("c", 2, last_used=1), waiting("b", 8))
    assert not found.stop
    assert not found.load


def test_a_pinned_model_stays_and_who_cannot_fit_beside_it_hears_why() -> None:
    found = look(ready("pin", 6, pinned=True), waiting("b", 6))
    assert not found.stop
    assert "pinned pin" in found.refused["b"]


def test_a_model_larger_than_everything_is_refused_with_both_numbers() -> None:
    found = look(waiting("huge", 11))
    assert found.refused["huge"] == "it needs CPU 11264 MiB, and there are CPU 10240 MiB in all"


def test_an_idle_model_goes_after_its_keep_alive_and_a_pinned_one_never() -> None:
    gone = ready("a", 1, last_used=40, keep_alive=60)
    stays = ready("b", 1, last_used=41, keep_alive=60)
    pinned = ready("c", 1, last_used=0, keep_alive=60, pinned=True)
    busy = ready("d", 1, last_used=0, keep_alive=60, in_flight=1)
    assert look(gone, stays, pinned, busy).stop == ["a"]


def test_one_that_comes_back_after_a_crash_takes_nobodys_place() -> None:
    found = look(ready("a", 8), waiting("b", 8, gentle=True))
    assert not found.stop
    assert look(ready("a", 2), waiting("b", 8, gentle=True)).load == ["b"]


def test_unloading_waits_for_the_last_request() -> None:
    busy = look(ready("a", 1, leaving=True, in_flight=1))
    assert busy.closed == {"a"}
    assert not busy.stop
    assert look(ready("a", 1, leaving=True)).stop == ["a"]


def test_the_next_look_is_when_time_alone_changes_something() -> None:
    busy = ready("a", 8, in_flight=1)
    assert next_look([busy, waiting("b", 8, since=99.0)], 100.0) == 1.0
    assert next_look([ready("a", 1, last_used=95, keep_alive=60)], 100.0) == 55
    assert next_look([ready("a", 1)], 100.0) is None


def test_the_ledger_refuses_to_drift() -> None:
    ledger = Ledger(CAPACITY)
    ledger.hold("a", {"CPU": 6 * GB})
    with pytest.raises(ValueError, match="already"):
        ledger.hold("a", {"CPU": 1})
    with pytest.raises(ValueError, match="does not fit"):
        ledger.hold("b", {"CPU": 6 * GB})
    assert ledger.free() == {"CPU": 4 * GB}
    ledger.release("a")
    assert ledger.used() == {"CPU": 0}
    with pytest.raises(ValueError, match="nothing"):
        ledger.release("a")
