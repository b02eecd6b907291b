"""``lais``: the command line.

A verb's module is imported when the verb is called, so that ``lais --help`` and the terminal
assistant start in milliseconds. Exit codes: 0 done; 1 the answer is no; 2 to 9 and 74 see
``errors.py``; 70 a defect of ours; 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from local_ai_suite import __version__
from local_ai_suite.cli.help import translate_help
from local_ai_suite.cli.interrupts import importing
from local_ai_suite.cli.output import echo, echo_json
from local_ai_suite.errors import DiskError, SuiteError, UsageError
from local_ai_suite.log import log_to_file
from local_ai_suite.messages import say, speak, tr, translated
from local_ai_suite.paths import find_paths
from local_ai_suite.result import error_as_json, error_as_text

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

EX_SOFTWARE = 70  # sysexits.h: an internal error
INTERRUPTED = 130  # 128 + SIGINT, what a shell expects

# verb -> (module under cli/, one line of help). The help stands here so that `lais --help` imports
# no verb.
VERBS: dict[str, tuple[str, str]] = {
    # The stack
    "up": ("up", tr("start a phase and wait until it answers")),
    "down": ("up", tr("stop everything this project started")),
    "restart": ("up", tr("stop, then start again")),
    "status": ("status", tr("what runs, with which models and memory")),
    "bench": ("bench", tr("how fast the running stack is on this machine")),
    "logs": ("status", tr("the logs of all services")),
    "service": ("service", tr("start the suite at boot: install, uninstall, status")),
    #
    # Before and after: what is there, what fits
    "preflight": ("doctor", tr("check this machine before starting")),
    "doctor": ("doctor", tr("what is wrong here, and what to do about it")),
    "plan-fit": ("plan_fit", tr("what of a model fits where, before it is loaded")),
    "settings": ("settings", tr("every setting, its value and where it was set")),
    #
    # Models and the engine
    "models": ("models", tr("the GGUF files: list, inspect, recommended, pull, rm")),
    "ps": ("engine", tr("which models are loaded, with how much memory")),
    "load": ("engine", tr("load a model now")),
    "unload": ("engine", tr("stop a model's engine")),
    "engine": ("engine", tr("the inference engine: list, build")),
    #
    # The gateway
    "gateway": ("gateway", tr("where each model name goes")),
    "keys": ("keys", tr("named keys for the gateway: create, list, revoke")),
    #
    # The assistant
    "ai": ("ai", tr("ask the local models; files, git, conversations")),
    #
    # Plans and approvals
    "plan": ("issues", tr("an issue becomes a plan: make, show, approve, reject")),
    "approvals": ("approvals", tr("what waits for a decision: list, approve, reject, audit")),
    #
    # Editors and agents
    "connect": ("connect", tr("connect an editor or agent, and prove it")),
    "disconnect": ("connect", tr("give its configuration back")),
    "launch": ("connect", tr("start a terminal client for once, nothing written")),
}


class Verbs(click.Group):
    """A group whose commands are imported when asked for; each module has one ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in VERBS:
            return None
        with importing():
            module = importlib.import_module(f"local_ai_suite.cli.{VERBS[cmd_name][0]}")
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(module, f"{name}_command", None) or module.command
        translate_help(command)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """With the verb that was probably meant: click knows only commands that are imported."""
        if args[0] not in VERBS:
            import difflib  # noqa: PLC0415 (only for a slip)

            if near := difflib.get_close_matches(args[0], VERBS, n=1):
                ctx.fail(
                    say(
                        "No such command {verb!r}. Did you mean {near!r}?",
                        verb=args[0],
                        near=near[0],
                    )
                )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section(say("Commands")):
            formatter.write_dl([(verb, translated(line)) for verb, (_, line) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="lais")
def lais() -> None:
    """A folder of GGUF files becomes a private, OpenAI-compatible AI server."""


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit with its code; the one place that turns errors into text."""
    _mend_streams()
    arguments = sys.argv[1:] if argv is None else argv
    as_json = "--json" in arguments
    if not as_json and _writes_hangul() and speak(os.environ):
        translate_help(lais)
    verb = next((word for word in arguments if not word.startswith("-")), "lais")
    try:
        code: Any = lais.main(args=arguments, prog_name="lais", standalone_mode=False)
    except click.ClickException as exc:
        if as_json:
            echo_json(error_as_json(verb, UsageError(exc.format_message())))
        else:
            exc.show()
        sys.exit(exc.exit_code)
    except (click.Abort, KeyboardInterrupt):
        echo(say("stopped"), err=True)
        sys.exit(INTERRUPTED)
    except SuiteError as exc:
        _fail(verb, exc, as_json)
    except OSError as exc:
        _fail(verb, DiskError.of(exc) or _defect(verb, exc), as_json)
    except Exception as exc:  # noqa: BLE001  (the last line of defence; see errors.py)
        _fail(verb, _defect(verb, exc), as_json)
    sys.exit(code if isinstance(code, int) else 0)


def _mend_streams() -> None:
    """Standard streams that every command can use, however the shell left them."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the caller: `lais ... <&-`, some daemons
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper) and out.errors == "strict":
        # A file's name that is not UTF-8, an emoji in a locale without: shown as an escape.
        out.reconfigure(errors="backslashreplace")


def _writes_hangul() -> bool:
    """Whether the terminal's encoding has Korean letters; without, English reads better."""
    try:
        "\ud55c\uae00".encode(sys.stdout.encoding or "ascii")
    except (LookupError, UnicodeEncodeError):
        return False
    return True


class Defect(SuiteError):
    """An exception that nobody expected."""

    code = "defect"
    exit_code = EX_SOFTWARE


def _defect(verb: str, exc: Exception) -> Defect:
    """``exc`` in one line, its traceback in a log file."""
    file = _keep_traceback(verb, exc)
    hint = (
        tr("The details are in {file}", file=file) if file else tr("Its log could not be written.")
    )
    return Defect(
        tr("this should not happen: {name}: {exc}", name=type(exc).__name__, exc=exc), hint=hint
    )


def _keep_traceback(verb: str, exc: Exception) -> Path | None:
    try:
        file = log_to_file(find_paths().ensure_state() / "logs", "defect")
    except OSError:
        return None
    log.error("lais %s", verb, exc_info=exc)
    return file


def _fail(verb: str, error: SuiteError, as_json: bool) -> NoReturn:
    if as_json:
        echo_json(error_as_json(verb, error))
    else:
        echo(error_as_text(error), err=True)
    sys.exit(error.exit_code)
