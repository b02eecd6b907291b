"""How a download shows itself: a bar on a terminal, a line now and then elsewhere, or nothing."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from local_ai_suite.cli.output import echo
from local_ai_suite.messages import say, translated
from local_ai_suite.messages.plain import visible

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.progress import TaskID

# A log of a download that takes an hour is 20 lines, not 20,000.
_LINE_EVERY_SECONDS = 30.0
_LINE_EVERY_PART = 0.25


class Quiet:
    """For ``--json``: nothing is shown."""

    def __enter__(self) -> Quiet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, name: str, total: int | None, done: int) -> None:
        """A file begins, or begins anew."""

    def advance(self, count: int) -> None:
        """``count`` more bytes came."""

    def note(self, text: str) -> None:
        """Something that a person should know."""

    def close(self) -> None:
        """The end, or an interruption."""


class Lines(Quiet):
    """A line at the start, every 30 seconds or quarter, and at the end."""

    def __init__(
        self,
        write: Callable[[str], None] = lambda line: echo(line, err=True),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._clock = write, clock
        self._name, self._total, self._done = "", 0, 0
        self._last_time, self._last_done, self._begun = 0.0, 0, 0.0

    def start(self, name: str, total: int | None, done: int) -> None:
        self._name, self._total, self._done = name, total or 0, done
        self._begun = self._last_time = self._clock()
        self._last_done = done
        self._write(f"{name}: {_size(total)}")

    def advance(self, count: int) -> None:
        self._done += count
        now = self._clock()
        quarter = self._total and self._done - self._last_done >= self._total * _LINE_EVERY_PART
        ended = self._total and self._done == self._total
        if not (quarter or ended or now - self._last_time >= _LINE_EVERY_SECONDS):
            return
        part = f" ({self._done / self._total:.0%})" if self._total else ""
        rate = self._done / max(now - self._begun, 0.001)
        self._write(
            say(
                "{name}: {size}{part}, {rate:.1f} MB/s",
                name=self._name,
                size=_size(self._done),
                part=part,
                rate=rate / 1e6,
            )
        )
        self._last_time, self._last_done = now, self._done

    def note(self, text: str) -> None:
        self._write(translated(text))


class Bar(Quiet):
    """rich's progress bar."""

    def __init__(self) -> None:
        from rich.console import Console  # noqa: PLC0415  (60 ms that only a terminal needs)
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task: TaskID | None = None

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def start(self, name: str, total: int | None, done: int) -> None:
        name = visible(name)  # it is the hub's word
        if self._task is not None and self._progress.tasks[-1].description == name:
            self._progress.reset(self._task, total=total, completed=done)
        else:
            self._task = self._progress.add_task(name, total=total, completed=done)

    def advance(self, count: int) -> None:
        if self._task is not None:
            self._progress.advance(self._task, count)

    def note(self, text: str) -> None:
        self._progress.console.print(visible(translated(text)), markup=False, highlight=False)

    def close(self) -> None:
        self._progress.stop()


def watcher() -> Quiet:
    """A bar when stderr is a terminal, else lines."""
    return Bar() if sys.stderr.isatty() else Lines()


def _size(count: int | None) -> str:
    if count is None:
        return say("size unknown")
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
