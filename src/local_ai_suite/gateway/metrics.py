"""Counters and histograms in Prometheus' text format (version 0.0.4).

A request costs a few dictionary updates; ``prometheus-client`` takes a lock per update and 15 ms
of import. Labels are bounded: routes and models come from our own tables, never from a client.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from local_ai_suite.gateway.call import Call

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
HUNG_UP = 499  # nginx's status for a client that closed its connection

Labels = tuple[tuple[str, str], ...]


class Histogram:
    """Cumulative buckets, a sum and a count, as Prometheus has them."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BUCKETS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_BUCKETS, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, labels: Labels) -> Iterator[str]:
        seen = 0
        for bound, count in zip((*map(str, _BUCKETS), "+Inf"), self.counts, strict=True):
            seen += count
            yield f"{name}_bucket{_shown((*labels, ('le', bound)))} {seen}"
        yield f"{name}_sum{_shown(labels)} {self.total:.6f}"
        yield f"{name}_count{_shown(labels)} {seen}"


class Metrics:
    """What the gateway has done since it started."""

    def __init__(self) -> None:
        self.in_flight = 0
        self._requests: dict[tuple[str, str, str, int], int] = defaultdict(int)
        self._errors: dict[tuple[str, str], int] = defaultdict(int)
        self._duration: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self._first: dict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self._queued: dict[str, Histogram] = defaultdict(Histogram)
        self._tokens: dict[tuple[str, str, str], int] = defaultdict(int)

    def finished(self, call: Call, now: float) -> None:
        """Count a call that has ended, well or not."""
        route, model = call.route or "other", call.model
        status = HUNG_UP if call.hung_up else call.status
        self._requests[route, model, call.kind, status] += 1
        if call.error:
            self._errors[route, call.error] += 1
        if not model:
            return
        self._duration[route, model].observe(now - call.begun)
        if call.admitted:
            self._queued[model].observe(call.admitted - call.begun)
        if call.first_byte:
            self._first[route, model].observe(call.first_byte - call.begun)
        key = call.key or ""
        if call.tokens_in is not None:
            self._tokens[model, key, "in"] += call.tokens_in
        if call.tokens_out is not None:
            self._tokens[model, key, "out"] += call.tokens_out

    def text(self, queues: Mapping[tuple[str, str], tuple[int, int]]) -> str:
        """Everything, ready to be scraped."""
        return "\n".join([*self._lines(queues), ""])

    def _lines(self, queues: Mapping[tuple[str, str], tuple[int, int]]) -> Iterator[str]:
        labels: Labels
        yield from _head("lais_gateway_requests_total", "counter", "Requests answered.")
        for (route, model, kind, status), count in self._requests.items():
            labels = (("route", route), ("model", model), ("via", kind), ("status", str(status)))
            yield f"lais_gateway_requests_total{_shown(labels)} {count}"
        yield from _head("lais_gateway_errors_total", "counter", "Requests that ended in an error.")
        for (route, code), count in self._errors.items():
            labels = (("route", route), ("code", code))
            yield f"lais_gateway_errors_total{_shown(labels)} {count}"
        yield from _head("lais_gateway_in_flight", "gauge", "Requests under way.")
        yield f"lais_gateway_in_flight {self.in_flight}"
        yield from _head("lais_gateway_lane_running", "gauge", "Requests at the engine.")
        for (model, kind), (running, _) in queues.items():
            labels = (("model", model), ("lane", kind))
            yield f"lais_gateway_lane_running{_shown(labels)} {running}"
        yield from _head("lais_gateway_lane_waiting", "gauge", "Requests in the queue.")
        for (model, kind), (_, waiting) in queues.items():
            labels = (("model", model), ("lane", kind))
            yield f"lais_gateway_lane_waiting{_shown(labels)} {waiting}"
        yield from _head("lais_gateway_tokens_total", "counter", "Tokens, as the engine counted.")
        for (model, key, way), count in self._tokens.items():
            labels = (("model", model), ("key", key), ("direction", way))
            yield f"lais_gateway_tokens_total{_shown(labels)} {count}"
        yield from _histograms("lais_gateway_request_seconds", "Whole requests.", self._duration)
        yield from _histograms(
            "lais_gateway_first_byte_seconds", "Until the upstream's first byte.", self._first
        )
        yield from _head("lais_gateway_queue_seconds", "histogram", "Waiting for the engine.")
        for model, histogram in self._queued.items():
            yield from histogram.lines("lais_gateway_queue_seconds", (("model", model),))


def _histograms(name: str, text: str, found: Mapping[tuple[str, str], Histogram]) -> Iterator[str]:
    yield from _head(name, "histogram", text)
    for (route, model), histogram in found.items():
        yield from histogram.lines(name, (("route", route), ("model", model)))


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def _shown(labels: Labels) -> str:
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
