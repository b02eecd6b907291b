"""What a shell starts as ``lais``: as little as can be, before Ctrl-C is taken care of."""

from __future__ import annotations

from local_ai_suite.cli.interrupts import importing


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code (see ``cli/main.py``)."""
    with importing():
        from local_ai_suite.cli.main import main as run  # noqa: PLC0415 (that is the point)
    run(argv)
