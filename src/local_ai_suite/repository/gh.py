"""Reading issues with ``gh``. It runs in an empty folder, with the repository's name given, so that
neither gh nor the git that it calls reads the repository's configuration."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from local_ai_suite.errors import NetworkError, UsageError
from local_ai_suite.messages import tr

from .program import find_program, run, search_path

if TYPE_CHECKING:
    from .program import Done

_LIST = "number,title,labels,state,updatedAt,assignees"
SHOW_FIELDS = "number,title,body,labels,state,assignees,milestone,createdAt,updatedAt,comments,url"
_SECONDS = 60.0  # an issue with hundreds of comments over a slow line
_MOST = 64 * 1024 * 1024
_WITHOUT_GH = tr("For a plan: `lais plan --file issue.md` (or - for standard input) needs no gh.")
# What gh needs to find its login, its server and the way there.
_KEPT = (
    "HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "LANG",
    "GH_CONFIG_DIR", "GH_HOST", "GH_TOKEN", "GITHUB_TOKEN", "DBUS_SESSION_BUS_ADDRESS",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy",
    "http_proxy", "no_proxy", "USERPROFILE", "APPDATA",
)  # fmt: skip
# gh sends these to whatever server a command names.
_FOR_ANY_SERVER = ("GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN")


@dataclass(frozen=True, slots=True)
class Issues:
    """The issues of ``repository`` (``owner/name`` or ``host/owner/name``).

    ``named``: a person named it. A name that was read in the repository's own configuration is
    its author's, and gets no token that is good for any server, unless ``GH_HOST`` is its server.
    ``outside``: the folder in which gh itself is not looked for.
    """

    repository: str
    named: bool = False
    outside: Path | None = None

    def list(self, state: str = "open", limit: int = 30) -> list[dict[str, Any]]:
        """The newest issues, as ``gh issue list --json`` gives them."""
        found = self._gh("list", "--state", state, "--limit", str(limit), fields=_LIST)
        if not isinstance(found, list):
            raise NetworkError(tr("gh did not answer with a list of issues"), hint=tr("Update gh."))
        return found

    def view(self, number: int) -> dict[str, Any]:
        """One issue with its text and comments. :class:`UsageError` or :class:`NetworkError`
        says why not."""
        found = self._gh("view", str(number), fields=SHOW_FIELDS)
        if not isinstance(found, dict):
            raise NetworkError(
                tr("gh did not answer with issue {number}", number=number), hint=tr("Update gh.")
            )
        return found

    def _gh(self, *words: str, fields: str) -> Any:
        gh = find_program("gh", self.outside)
        if gh is None:
            raise UsageError(
                tr("gh, GitHub's command line tool, reads issues, and it is not installed"),
                hint=tr(
                    "Install it from https://cli.github.com, then `gh auth login`. {without_gh}",
                    without_gh=_WITHOUT_GH,
                ),
            )
        command = [str(gh), "issue", *words, "--repo", self.repository, "--json", fields]
        try:
            with tempfile.TemporaryDirectory(prefix="lais-gh-") as nowhere:
                done = run(
                    command,
                    cwd=Path(nowhere),
                    environment=self._environment(),
                    seconds=_SECONDS,
                    most=_MOST,
                )
        except TimeoutError as exc:
            raise NetworkError(
                tr("gh did not answer within {seconds:.0f} s", seconds=_SECONDS),
                hint=tr("Is the network up?"),
            ) from exc
        except OSError as exc:
            raise UsageError(
                tr("gh could not be started: {reason}", reason=exc.strerror),
                hint=tr("Does `gh version` work?"),
            ) from exc
        if done.cut:
            raise NetworkError(
                tr("gh answered with more than {size} MiB", size=_MOST >> 20),
                hint=tr("Is the gh on PATH GitHub's?"),
            )
        if done.code:
            raise self._refused(done)
        try:
            return orjson.loads(done.out)
        except orjson.JSONDecodeError as exc:
            raise NetworkError(
                tr("gh did not answer in JSON: {answer!r}", answer=done.out[:80]),
                hint=tr(
                    "Is the gh on PATH GitHub's, and new enough? {without_gh}",
                    without_gh=_WITHOUT_GH,
                ),
            ) from exc

    def _environment(self) -> dict[str, str]:
        first, _, rest = self.repository.partition("/")
        server = first if "/" in rest else "github.com"
        kept = list(_KEPT)
        if self.named or server == os.environ.get("GH_HOST"):
            kept += _FOR_ANY_SERVER
        return {
            **{name: os.environ[name] for name in kept if name in os.environ},
            "PATH": search_path(self.outside),
            "GH_PROMPT_DISABLED": "1",
            "GH_NO_UPDATE_NOTIFIER": "1",
            "GH_PAGER": "cat",
            "NO_COLOR": "1",
        }

    def _refused(self, done: Done) -> UsageError | NetworkError:
        line, low = done.reason or tr("no reason given"), done.err.lower()
        if "auth login" in low or "authentication" in low or "401" in low:
            return UsageError(
                tr("gh is not logged in: {line}", line=line),
                hint=tr("`gh auth login` logs in. {without_gh}", without_gh=_WITHOUT_GH),
            )
        if "could not resolve to an issue" in low or "no issue" in low:
            return UsageError(
                tr("{repository} has no such issue: {line}", repository=self.repository, line=line),
                hint=tr("`lais ai issues` lists the issues."),
            )
        if "could not resolve to a repository" in low or "not found" in low:
            return UsageError(
                tr(
                    "there is no repository {repository}, or you may not see it: {line}",
                    repository=self.repository,
                    line=line,
                ),
                hint=tr("Name another with --repository owner/name."),
            )
        return NetworkError(
            tr("gh: {line}", line=line),
            hint=tr(
                "Is the network up? `gh auth status` says more. {without_gh}",
                without_gh=_WITHOUT_GH,
            ),
        )
