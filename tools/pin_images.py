"""Write into docker/Dockerfile the digests of the images that ours are made of. Needs the internet.

    python tools/pin_images.py            # asks each registry for what the tags are now
    python tools/pin_images.py --check    # says whether they still are; changes nothing

Each digest is computed from the bytes that the registry sent; none is taken on trust, and nothing
is written unless every image was found. A newer llama.cpp: change the tag in the Dockerfile first.
The protocol is the OCI distribution specification's: a manifest by its tag, a token if asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import ssl
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx

DOCKERFILE = Path(__file__).parents[1] / "docker" / "Dockerfile"
NAMES = ("PYTHON_IMAGE", "ENGINE_IMAGE", "ENGINE_CUDA_IMAGE")
# A manifest is a few kilobytes; a registry that takes longer is not there.
TIMEOUT_S = 30.0
LARGEST_MANIFEST = 4 * 1024 * 1024  # what registries themselves accept
# The list of all processors' images first: a digest must mean the same on each.
ACCEPT = (
    "application/vnd.oci.image.index.v1+json,"
    "application/vnd.docker.distribution.manifest.list.v2+json,"
    "application/vnd.oci.image.manifest.v1+json,"
    "application/vnd.docker.distribution.manifest.v2+json"
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class NotPinned(Exception):
    """An image could not be resolved; the text says which and why."""


@dataclass(frozen=True)
class Reference:
    """``registry/repository:tag@digest``, as Docker writes it."""

    text: str
    registry: str
    repository: str
    tag: str
    digest: str | None

    @classmethod
    def parse(cls, text: str) -> Reference:
        named, _, digest = text.partition("@")
        first, slash, rest = named.partition("/")
        # Docker's rule: the first part is a host if it could be none of Docker Hub's names.
        is_host = bool(slash) and ("." in first or ":" in first or first == "localhost")
        registry, path = (first, rest) if is_host else ("registry-1.docker.io", named)
        repository, _, tag = path.partition(":")
        if not is_host and "/" not in repository:
            repository = f"library/{repository}"
        if not tag:
            raise NotPinned(f"{text} names no tag")
        return cls(named, registry, repository, tag, digest or None)

    @property
    def url(self) -> str:
        host = urlsplit(f"//{self.registry}").hostname
        scheme = "http" if host in {"localhost", "127.0.0.1", "::1"} else "https"
        return f"{scheme}://{self.registry}/v2/{self.repository}/manifests/{self.tag}"


def read(dockerfile: Path) -> dict[str, Reference]:
    """The images by their argument's name. Raises NotPinned when one is missing."""
    text = dockerfile.read_text(encoding="utf-8")
    found = {}
    for name in NAMES:
        line = re.search(rf"^ARG {name}=(\S+)$", text, re.MULTILINE)
        if line is None:
            raise NotPinned(f"{dockerfile} has no ARG {name}=...")
        found[name] = Reference.parse(line[1])
    return found


def resolve(reference: Reference, client: httpx.Client) -> str:
    """The digest of what the tag is now: of the bytes, and the same as the registry says."""
    try:
        answer = client.get(reference.url, headers={"accept": ACCEPT})
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            bearer = {"authorization": f"Bearer {_token(reference, answer, client)}"}
            answer = client.get(reference.url, headers={"accept": ACCEPT, **bearer})
    except httpx.HTTPError as exc:
        raise NotPinned(
            f"{reference.registry} cannot be reached ({exc or type(exc).__name__}): this needs the "
            "internet"
        ) from exc
    if answer.status_code != httpx.codes.OK:
        raise NotPinned(f"{reference.registry} says {answer.status_code} to {reference.text}")
    if len(answer.content) > LARGEST_MANIFEST:
        raise NotPinned(f"the manifest of {reference.text} is too large to be one")
    digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
    said = answer.headers.get("docker-content-digest", digest)
    if said != digest:
        raise NotPinned(f"{reference.text}: the registry says {said}, its bytes are {digest}")
    return digest


def _token(reference: Reference, answer: httpx.Response, client: httpx.Client) -> str:
    """A token for reading, from where the registry sends everybody."""
    challenge = dict(_CHALLENGE.findall(answer.headers.get("www-authenticate", "")))
    if "realm" not in challenge:
        raise NotPinned(f"{reference.registry} asks for a login that is not known here")
    wanted = {"scope": f"repository:{reference.repository}:pull"}
    if "service" in challenge:
        wanted["service"] = challenge["service"]
    given = client.get(challenge["realm"], params=wanted)
    try:
        body = given.raise_for_status().json()
        return str(body.get("token") or body["access_token"])
    except (httpx.HTTPStatusError, ValueError, KeyError, AttributeError) as exc:
        raise NotPinned(f"{reference.registry} gives no token for {reference.text}") from exc


def write(dockerfile: Path, digests: dict[str, str]) -> None:
    """Put the digests behind the tags, in one step."""
    text = dockerfile.read_text(encoding="utf-8")
    for name, reference in read(dockerfile).items():
        pattern = rf"^ARG {name}=\S+$"
        line = f"ARG {name}={reference.text}@{digests[name]}"
        text = re.sub(pattern, line, text, count=1, flags=re.MULTILINE)
    draft = dockerfile.with_name(f"{dockerfile.name}.new")
    draft.write_text(text, encoding="utf-8")
    draft.chmod(dockerfile.stat().st_mode)
    os.replace(draft, dockerfile)  # noqa: PTH105


def main(argv: list[str] | None = None, dockerfile: Path = DOCKERFILE) -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument(
        "--check", action="store_true", help="Compare only; exit code 1 if changed."
    )
    words = parser.parse_args(argv)
    try:
        references = read(dockerfile)
        # The system's certificates: a company's proxy may have its own.
        with httpx.Client(
            timeout=TIMEOUT_S, follow_redirects=True, verify=ssl.create_default_context()
        ) as client:
            digests = {name: resolve(image, client) for name, image in references.items()}
    except NotPinned as exc:
        print(f"error: {exc}\nNothing was changed.", file=sys.stderr)
        return 1
    changed = {name for name in NAMES if references[name].digest != digests[name]}
    for name, reference in references.items():
        print(f"{reference.text}\n  {digests[name]}{' (new)' if name in changed else ''}")
    if words.check:
        return 1 if changed else 0
    write(dockerfile, digests)
    return 0


if __name__ == "__main__":
    sys.exit(main())
