"""Reading an issue with ``gh``. It runs outside the repository, with the repository's name given,
so that neither gh nor the git that it calls reads the repository's configuration."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from typing import Any

from local_ai_suite.errors import NetworkError, UsageError
from local_ai_suite.messages import tr

FIELDS = "title,body,labels,assignees,milestone,state,createdAt,updatedAt,comments"
GH_SECONDS = 60.0  # an issue with hundreds of comments over a slow line
_WITHOUT_GH = tr(
    "Or give the issue as a file: lais plan --file issue.md (or - for standard input)."
)


def view_issue(number: int, repository: str) -> dict[str, Any]:
    """The JSON of one issue. :class:`UsageError` or :class:`NetworkError` says why not."""
    gh = shutil.which("gh")
    if gh is None:
        raise UsageError(
            tr("an issue is read by its number with gh, GitHub's command line tool; there is none"),
            hint=tr("Install it from https://cli.github.com. {without_gh}", without_gh=_WITHOUT_GH),
        )
    command = [gh, "issue", "view", str(number), "--repo", repository, "--json", FIELDS]
    try:
        with tempfile.TemporaryDirectory(prefix="lais-gh-") as nowhere:
            done = subprocess.run(
                command,
                cwd=nowhere,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=GH_SECONDS,
                check=False,
            )
    except subprocess.TimeoutExpired as exc:
        raise NetworkError(
            tr("gh did not answer within {seconds:.0f} s", seconds=GH_SECONDS),
            hint=tr("Try again. {without_gh}", without_gh=_WITHOUT_GH),
        ) from exc
    if done.returncode:
        raise _refused(done.stderr.decode("utf-8", "replace").strip(), number, repository)
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError as exc:
        raise NetworkError(
            tr("gh answered something that is not JSON: {text!r}", text=done.stdout[:80]),
            hint=tr("Is the gh on PATH GitHub's? {without_gh}", without_gh=_WITHOUT_GH),
        ) from exc
    return answer


def _refused(said: str, number: int, repository: str) -> UsageError | NetworkError:
    low = said.lower()
    if "gh auth login" in low or "authentication" in low or "401" in low:
        return UsageError(
            tr("gh is not logged in"),
            hint=tr("Run: gh auth login. {without_gh}", without_gh=_WITHOUT_GH),
        )
    if "could not resolve to an issue" in low or "no issue" in low:
        return UsageError(
            tr("{repository} has no issue {number}", repository=repository, number=number),
            hint=tr("`gh issue list` shows the open ones."),
        )
    if "could not resolve to a repository" in low or "not found" in low:
        return UsageError(
            tr("there is no repository {repository}, or you may not see it", repository=repository),
            hint=tr("Name another with --repository owner/name."),
        )
    return NetworkError(
        tr("gh could not read the issue: {said}", said=said[:300]), hint=_WITHOUT_GH
    )
