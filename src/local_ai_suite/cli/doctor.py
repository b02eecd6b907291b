"""``lais doctor``, ``lais preflight``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from local_ai_suite import doctor
from local_ai_suite.cli.output import echo, json_option, show
from local_ai_suite.messages import tr, translated
from local_ai_suite.messages.width import ljust
from local_ai_suite.paths import find_paths
from local_ai_suite.result import Result

if TYPE_CHECKING:
    from local_ai_suite.doctor import Report

_MARKS = {
    "ok": (tr("ok"), "green"),
    "warning": (tr("warning"), "yellow"),
    "failure": (tr("FAILURE"), "red"),
}


@click.command()
@click.option("--preflight", is_flag=True, help="Only what decides whether `up` will work.")
@json_option
def doctor_command(preflight: bool, as_json: bool) -> int:
    """Look for what is wrong, and say what to do. Exit code 0 only if `up` will work."""
    facts = doctor.gather(find_paths())
    report = doctor.preflight(facts) if preflight else doctor.examine(facts)
    return _show("preflight" if preflight else "doctor", report, as_json=as_json)


@click.command()
@json_option
def preflight_command(as_json: bool) -> int:
    """Check this machine before starting. Exit code 0 only if `up` will work."""
    return _show("preflight", doctor.preflight(doctor.gather(find_paths())), as_json=as_json)


def _show(command: str, report: Report, *, as_json: bool) -> int:
    code = 0 if report.will_work else 1
    if as_json:
        return show(Result(command, "", report.as_data(), exit_code=code), as_json=True)
    for mark, shade, rest in _lines(report):
        echo(mark, nl=False, fg=shade)
        echo(rest)
    return code


def as_text(report: Report) -> str:
    """One line a check, the remedy below it, the conclusion at the end."""
    return "\n".join(mark + rest for mark, _, rest in _lines(report))


def _lines(report: Report) -> list[tuple[str, str | None, str]]:
    """Each line in two parts: how it went, its colour; what it is about."""
    width = max((len(check.name) for check in report.checks), default=0)
    lines: list[tuple[str, str | None, str]] = []
    for check in report.checks:
        word, shade = _MARKS[check.status]
        said = f" {check.name:<{width}}  {translated(check.message)}"
        lines.append((ljust(translated(word), 8), shade, said))
        if check.status != "ok" and check.remedy:
            lines.append(("", None, f"{'':<{9 + width}}  -> {translated(check.remedy)}"))
    return [*lines, ("", None, ""), ("", None, translated(report.conclusion()))]
