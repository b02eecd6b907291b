"""The hub's HTTP interface: a repository's files with their sizes and SHA-256, and their bytes.

Two sources of a file's SHA-256, both of Git LFS: ``lfs.oid`` in ``/api/models/REPO/tree/REV``, and
``X-Linked-Etag`` of a ``HEAD`` on ``/REPO/resolve/REV/FILE`` (which answers with a redirect to a
content network that must not be followed for that).

The token goes to ``HF_ENDPOINT`` alone: redirects are followed by hand, and a request to any other
origin carries none.
"""

from __future__ import annotations

import logging
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urljoin, urlsplit

import httpx

from local_ai_suite import __version__
from local_ai_suite.errors import NetworkError, SettingsError
from local_ai_suite.messages import tr

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator

    from .reference import Reference

# A content network answers within seconds; a request that was lost on the way must not hang.
CONNECT_SECONDS = 15.0
# Longest silence inside an answer. The download goes on from there with a new request.
SILENCE_SECONDS = 30.0
_MOST_REDIRECTS = 6
_MOST_PAGES = 50  # of 1000 files each
_MOST_JSON_BYTES = 32 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})

# Its INFO lines hold whole addresses, and those of content networks are signed.
logging.getLogger("httpx").setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file on the hub. ``sha256`` is ``None`` for one that is not in LFS (a small text file)."""

    path: str
    size: int | None
    sha256: str | None


class Hub:
    """One hub (``HF_ENDPOINT``). Close it, or use it in a ``with`` block."""

    def __init__(self, endpoint: str, token: str | None) -> None:
        self.endpoint = endpoint.rstrip("/")
        parts = urlsplit(self.endpoint)
        if token and parts.scheme != "https" and parts.hostname not in _LOOPBACK:
            raise SettingsError(
                tr("HF_TOKEN would go to {endpoint} in clear text", endpoint=self.endpoint),
                hint=tr("Use an https:// HF_ENDPOINT, or unset HF_TOKEN."),
                key="HF_ENDPOINT",
            )
        self._token = token
        self._client = httpx.Client(
            verify=_tls(),
            timeout=httpx.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS),
            headers={
                "User-Agent": f"local-ai-suite/{__version__}",
                # The bytes are hashed and resumed as they are on the disk.
                "Accept-Encoding": "identity",
            },
        )

    def __enter__(self) -> Hub:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def files(self, reference: Reference) -> list[RemoteFile]:
        """All files of the repository. Raises :class:`NetworkError`."""
        revision = quote(reference.revision, safe="")
        url: str | None = (
            f"{self.endpoint}/api/models/{reference.repo}/tree/{revision}?recursive=true"
        )
        found: list[RemoteFile] = []
        for _ in range(_MOST_PAGES):
            if url is None:
                return found
            with self.open("GET", url, about=reference) as answer:
                found += [_remote_file(item) for item in _json_list(answer, self.endpoint)]
                following = answer.links.get("next", {}).get("url")
                url = urljoin(url, following) if following else None
        raise NetworkError(
            tr("{repo} has too many files to list", repo=reference.repo),
            hint=tr("Name the file: lais models pull user/repo:file.gguf"),
        )

    def head(self, reference: Reference, path: str) -> RemoteFile:
        """Size and SHA-256 of one file, without its bytes. Raises :class:`NetworkError`."""
        url = self.address(reference, path)
        with self.open("HEAD", url, about=reference, leave_origin=False) as answer:
            size = answer.headers.get("x-linked-size")
            if size is None and not answer.has_redirect_location:
                size = answer.headers.get("content-length")
            etag = answer.headers.get("x-linked-etag") or answer.headers.get("etag") or ""
            return RemoteFile(path, _count(size), _sha256(etag))

    def address(self, reference: Reference, path: str) -> str:
        """The address that always leads to the file's bytes."""
        revision = quote(reference.revision, safe="")
        return f"{self.endpoint}/{reference.repo}/resolve/{revision}/{quote(path)}"

    @contextmanager
    def open(
        self,
        method: str,
        url: str,
        *,
        about: Reference,
        start: int = 0,
        leave_origin: bool = True,
    ) -> Iterator[httpx.Response]:
        """The final answer, its body unread; ``start`` asks for the bytes from there on.

        With ``leave_origin=False`` a redirect to another origin is the answer. Statuses other
        than 200, 206, 416 and that redirect raise :class:`NetworkError`; so do lost connections.
        """
        for _ in range(_MOST_REDIRECTS):
            request = self._client.build_request(method, url, headers=self._headers(url, start))
            try:
                answer = self._client.send(request, stream=True)
            except httpx.HTTPError as exc:
                raise lost(exc, url) from exc
            try:
                target = self._redirect(answer, url)
                if target is None or (not leave_origin and _origin(target) != _origin(url)):
                    if target is None and answer.status_code not in {200, 206, 416}:
                        raise refused(answer, about, self.endpoint, bool(self._token))
                    try:
                        yield answer
                    except httpx.HTTPError as exc:
                        raise lost(exc, url) from exc
                    return
                url = target
            finally:
                answer.close()
        raise NetworkError(
            tr("{site} redirects in circles", site=_site(url)),
            hint=tr("Try again later, or set HF_ENDPOINT to another mirror."),
        )

    def _headers(self, url: str, start: int) -> dict[str, str]:
        headers = {"Range": f"bytes={start}-"} if start else {}
        if self._token and _origin(url) == _origin(self.endpoint):
            headers["Authorization"] = f"Bearer {self._token}"
        return headers

    @staticmethod
    def _redirect(answer: httpx.Response, url: str) -> str | None:
        if not answer.has_redirect_location:
            return None
        target = urljoin(url, answer.headers["location"])
        parts = urlsplit(target)
        downgrade = urlsplit(url).scheme == "https" and parts.scheme != "https"
        if parts.scheme not in {"http", "https"} or downgrade:
            raise NetworkError(
                tr(
                    "{site} redirects to {scheme}://{hostname}, which is not safe",
                    site=_site(url),
                    scheme=parts.scheme,
                    hostname=parts.hostname,
                ),
                hint=tr("Check HF_ENDPOINT and your network's proxy."),
            )
        return target


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes 100 ms."""
    return httpx.create_ssl_context()


def lost(exc: httpx.HTTPError, url: str) -> NetworkError:
    """A connection that could not be made or broke off. ``details["again"]``: worth another try."""
    silent = isinstance(exc, httpx.TimeoutException)
    site, why = _site(url), str(exc) or type(exc).__name__
    return NetworkError(
        tr("{site} did not answer in time", site=site)
        if silent
        else tr("{site} cannot be reached ({why})", site=site, why=why),
        hint=tr(
            "Check the network, and HTTPS_PROXY if you need a proxy; HF_ENDPOINT names a mirror."
        ),
        again=True,
    )


def refused(
    answer: httpx.Response, about: Reference, endpoint: str, has_token: bool
) -> NetworkError:
    """What a status means here, and what to do. The hub answers 401 for what it doesn't show."""
    status, site = answer.status_code, _site(str(answer.url))
    code = answer.headers.get("x-error-code", "")
    page = f"{endpoint}/{about.repo}"
    if status == 404 and code in {"EntryNotFound", ""}:
        message = tr("{file} is not on {site}", file=about.words, site=site)
        hint = tr(
            "Look at {page}/tree/{revision} for the file's exact name.",
            page=page,
            revision=about.revision,
        )
    elif status == 404 or (status == 401 and code in {"RepoNotFound", "RevisionNotFound"}):
        message = tr("{repo} is not on {site}, or it is private", repo=about.repo, site=site)
        hint = tr("Check the spelling. A private one needs HF_TOKEN in .env.")
    elif status == 401:
        message = tr("{site} asks for a login for {repo}", site=site, repo=about.repo)
        hint = (
            tr("HF_TOKEN is not accepted: make a new one in your account's settings.")
            if has_token
            else tr(
                "Accept its licence at {page}, then put a token of yours into .env as HF_TOKEN.",
                page=page,
            )
        )
    elif status == 403:
        message = tr("{site} does not give {repo} to this account", site=site, repo=about.repo)
        hint = tr("Ask for access at {page}; HF_TOKEN must be a token of that account.", page=page)
    elif status == 429:
        message = tr("{site} gets too many requests from here", site=site)
        hint = tr(
            "Wait a few minutes and repeat the command: it goes on. HF_TOKEN raises the limit."
        )
    else:
        message = tr(
            "{site} answered {status} for {file}", site=site, status=status, file=about.words
        )
        hint = tr("Repeat the command later: it goes on where it stopped.")
    return NetworkError(
        message,
        hint=hint,
        status=status,
        reason=code,
        again=status == 429 or status >= 500,
        wait=_count(answer.headers.get("retry-after")),
    )


def _remote_file(item: Any) -> RemoteFile:
    lfs = item.get("lfs") or {}
    return RemoteFile(
        str(item["path"]), _count(lfs.get("size", item.get("size"))), _sha256(lfs.get("oid", ""))
    )


def _json_list(answer: httpx.Response, endpoint: str) -> list[Any]:
    body = bytearray()
    for chunk in answer.iter_bytes():
        body += chunk
        if len(body) > _MOST_JSON_BYTES:
            break
    try:
        items = httpx.Response(200, content=bytes(body)).json()
        return [item for item in items if item.get("type") == "file" and "path" in item]
    except (ValueError, AttributeError, TypeError) as exc:
        raise NetworkError(
            tr("{site} does not answer as the Hugging Face hub does", site=_site(endpoint)),
            hint=tr("Check HF_ENDPOINT; a login page of your network may stand in between."),
        ) from exc


def _count(value: object) -> int | None:
    text = str(value)
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None


def _sha256(etag: str) -> str | None:
    bare = etag.removeprefix("W/").strip('"').removeprefix("sha256:").lower()
    return bare if _SHA256.fullmatch(bare) else None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"https": 443, "http": 80}.get(parts.scheme)


def _site(url: str) -> str:
    """The host alone: the rest of an address may be signed."""
    return urlsplit(url).netloc.rpartition("@")[2]
