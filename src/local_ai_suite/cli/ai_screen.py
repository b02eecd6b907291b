"""How the assistant shows things: the answer on stdout, everything else on stderr."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from local_ai_suite.cli.output import echo
from local_ai_suite.messages import say, translated
from local_ai_suite.messages.plain import visible

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from rich.text import Text

    from local_ai_suite.client import Answer, ChatStream

    class Writer(Protocol):
        """Shows a text that arrives in pieces."""

        def write(self, piece: str) -> None: ...
        def close(self) -> None: ...


_REFRESH_SECONDS = 0.1  # ten times a second looks alive and costs little
_LIVE_SHARE = 3  # the block being written may fill the last third of the screen


class Screen:
    """``raw``: no Markdown rendering; ``quiet``: errors only on stderr."""

    def __init__(self, *, raw: bool = False, quiet: bool = False) -> None:
        self._terminal = sys.stdout.isatty()
        self._rendered = self._terminal and not raw
        self._quiet = quiet

    def note(self, text: str) -> None:
        """One line for the user, not part of the answer."""
        if not self._quiet:
            echo(translated(text), err=True, dim=True)

    def warn(self, text: str) -> None:
        echo(say("warning: {warning}", warning=translated(text)), err=True)

    def writer(self) -> Writer:
        if self._rendered:
            return _Markdown()
        return _Plain(visible if self._terminal else str)

    def show(self, text: str) -> None:
        """A whole answer."""
        writer = self.writer()
        writer.write(text)
        writer.close()

    def stream(self, stream: ChatStream) -> tuple[Answer, bool]:
        """Show the answer as it comes; ``True`` when Ctrl-C stopped it. The stream is closed."""
        writer, thinking = self.writer(), _Thinking(self._quiet)
        stopped = False
        try:
            with stream:
                for delta in stream:
                    thinking.show(delta.reasoning)
                    if delta.text:
                        thinking.end()
                        writer.write(delta.text)
        except KeyboardInterrupt:
            stopped = True
        finally:
            thinking.end()
            writer.close()
        return stream.answer, stopped


class _Plain:
    """Pieces as they are, flushed, so that a pipe gets them at once."""

    def __init__(self, change: Callable[[str], str]) -> None:
        self._change = change
        self._last = "\n"

    def write(self, piece: str) -> None:
        sys.stdout.write(self._change(piece))
        sys.stdout.flush()
        self._last = piece[-1:] or self._last

    def close(self) -> None:
        if self._last != "\n":
            sys.stdout.write("\n")
            sys.stdout.flush()


class _Markdown:
    """Finished blocks rendered; the one being written as plain text below them."""

    def __init__(self) -> None:
        # Slow to import, and only a terminal needs them.
        from rich.console import Console  # noqa: PLC0415
        from rich.live import Live  # noqa: PLC0415
        from rich.markdown import Markdown  # noqa: PLC0415

        from local_ai_suite.chat.blocks import Blocks  # noqa: PLC0415

        self._blocks = Blocks()
        self._render = Markdown
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()
        self._printed = False
        self._refreshed = 0.0

    def write(self, piece: str) -> None:
        done = self._blocks.feed(visible(piece))
        if done:
            self._live.update("")
            for block in done:
                self._print(block)
        now = time.monotonic()
        if done or now - self._refreshed >= _REFRESH_SECONDS:
            self._refreshed = now
            self._live.update(self._tail(), refresh=True)

    def close(self) -> None:
        self._live.update("", refresh=True)
        self._live.stop()
        if last := self._blocks.close():
            self._print(last)

    def _print(self, block: str) -> None:
        if self._printed:
            self._console.print()
        self._printed = True
        self._console.print(self._render(block))

    def _tail(self) -> Text:
        from rich.text import Text  # noqa: PLC0415

        most = max(self._console.height // _LIVE_SHARE, 1)
        return Text("\n".join(self._blocks.tail.splitlines()[-most:]))


class _Thinking:
    """What a thinking model says to itself: dim, on stderr, only for a person."""

    def __init__(self, quiet: bool) -> None:
        self._shown = not quiet and sys.stderr.isatty()
        self._open = False

    def show(self, piece: str) -> None:
        if piece and self._shown:
            self._open = True
            echo(piece, err=True, dim=True, nl=False)

    def end(self) -> None:
        if self._open:
            self._open = False
            echo("\n", err=True)
