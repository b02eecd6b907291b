"""hadolint's rules over docker/Dockerfile, by hand (it is in no registry). Needs no Docker.

DL3008 (pin what apt installs) is left out on purpose: a distribution removes old versions, and the
base image's digest is what pins them.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import pytest

DOCKERFILE = Path(__file__).parents[2] / "docker" / "Dockerfile"


@dataclass
class Stage:
    name: str
    base: str
    steps: list[tuple[str, str]] = field(default_factory=list)

    def of(self, kind: str) -> list[str]:
        return [words for step, words in self.steps if step == kind]


@dataclass
class File:
    """``arguments`` before the first stage, with their defaults."""

    arguments: dict[str, str]
    stages: list[Stage]


def parse(text: str) -> File:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines))
    arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for line in filter(None, map(str.strip, whole.splitlines())):
        kind, _, words = line.partition(" ")
        words = " ".join(words.split())
        if kind == "FROM":
            base, _, name = words.partition(" AS ")
            stages.append(Stage(name, base))
        elif not stages:
            name, _, value = words.partition("=")
            arguments[name] = value
        else:
            stages[-1].steps.append((kind, words))
    return File(arguments, stages)


def problems(file: File) -> list[str]:
    names = [stage.name for stage in file.stages]
    found = ["DL3024 stage names are not unique"] if len(set(names)) != len(names) else []
    for number, stage in enumerate(file.stages):
        earlier = names[:number]
        found += [f"{stage.name}: {what}" for what in _of_stage(file, stage, earlier)]
    return found


def _of_stage(file: File, stage: Stage, earlier: list[str]) -> list[str]:
    found = []
    base = re.sub(r"\$\{(\w+)\}", lambda match: file.arguments.get(match[1], "?"), stage.base)
    if base not in earlier:
        tag = base.rpartition("/")[2].partition(":")[2]
        found += ["DL3006 no tag"] if not tag else []
        found += ["DL3007 latest"] if tag.startswith("latest") else []
    for kind in ("CMD", "ENTRYPOINT", "HEALTHCHECK"):
        found += [f"DL4003/4 several {kind}"] if len(stage.of(kind)) > 1 else []
    for words in [*stage.of("CMD"), *stage.of("ENTRYPOINT")]:
        try:
            json.loads(words)
        except ValueError:
            found.append("DL3025 not the JSON form")
    if (users := stage.of("USER")) and users[-1].split(":")[0] in {"root", "0"}:
        found.append("DL3002 the last user is root")
    found += ["DL3000 WORKDIR is relative" for w in stage.of("WORKDIR") if not w.startswith("/")]
    found += ["DL3011 no such port" for w in stage.of("EXPOSE") if not 0 < int(w) < 65536]
    found += ["DL4000 MAINTAINER is deprecated" for _ in stage.of("MAINTAINER")]
    found += ["DL3020 ADD in the place of COPY" for _ in stage.of("ADD")]
    for words in stage.of("COPY"):
        source = re.search(r"--from=(\S+)", words)
        if source and source[1] not in earlier:
            found.append(f"DL3022 COPY from {source[1]}, which is no earlier stage")
    kinds = [kind for kind, _ in stage.steps]
    found += ["DL3059 RUN after RUN" for pair in pairwise(kinds) if pair == ("RUN", "RUN")]
    for words in stage.of("RUN"):
        found += _of_run(words)
    return found


def _of_run(words: str) -> list[str]:
    found = []
    commands = re.split(r"&&|;|\|\|", words)
    for command in commands:
        program, *rest = command.split()
        found += ["DL3003 cd in the place of WORKDIR"] if program == "cd" else []
        found += ["DL3004 sudo"] if program == "sudo" else []
        found += ["DL3027 apt is for people"] if program == "apt" else []
        found += ["DL4006 a pipe without pipefail"] if "|" in rest else []
        if program == "apt-get" and "install" in rest:
            found += ["DL3014 no -y"] if "-y" not in rest else []
            found += ["DL3015 recommended too"] if "--no-install-recommends" not in rest else []
            if "/var/lib/apt/lists" not in words:
                found.append("DL3009 apt's lists stay in the layer")
        if program.endswith("pip") and "install" in rest:
            found += ["DL3042 pip's cache stays"] if "--no-cache-dir" not in rest else []
            found += ["DL3013 not pinned"] if "--require-hashes" not in rest else []
    return found


def test_the_dockerfile_keeps_hadolints_rules() -> None:
    file = parse(DOCKERFILE.read_text())
    assert {stage.name for stage in file.stages} >= {"gateway", "inference", "inference-server"}
    # One of two stages, as ENGINE says: the linter cannot know which, we do.
    for engine in ("cpu", "cuda"):
        file.arguments["ENGINE"] = engine
        assert problems(file) == []


def test_what_becomes_an_image_runs_as_a_user_and_says_how_it_is() -> None:
    stages = {stage.name: stage for stage in parse(DOCKERFILE.read_text()).stages}
    for name in ("gateway", "inference", "inference-server"):
        chain = [stages[name]]
        while chain[-1].base in stages:
            chain.append(stages[chain[-1].base])
        users = next(stage.of("USER") for stage in chain if stage.of("USER"))
        assert users[-1] == "10001:10001", name
        assert [stage for stage in chain if stage.of("HEALTHCHECK")], name
        labels = " ".join(label for stage in chain for label in stage.of("LABEL"))
        assert "org.opencontainers.image.title" in labels
        assert "org.opencontainers.image.licenses" in labels


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("FROM python", "DL3006"),
        ("FROM python:latest", "DL3007"),
        ("FROM a:1\nUSER root", "DL3002"),
        ("FROM a:1\nCMD python x.py", "DL3025"),
        ("FROM a:1\nWORKDIR app", "DL3000"),
        ("FROM a:1\nADD x /x", "DL3020"),
        ("FROM a:1\nCOPY --from=nowhere /x /x", "DL3022"),
        ("FROM a:1 AS x\nFROM a:1 AS x", "DL3024"),
        ("FROM a:1\nRUN true\nRUN true", "DL3059"),
        ("FROM a:1\nRUN cd /x && make", "DL3003"),
        ("FROM a:1\nRUN apt-get install --no-install-recommends x", "DL3014"),
        ("FROM a:1\nRUN apt-get install -y x && rm -rf /var/lib/apt/lists/*", "DL3015"),
        ("FROM a:1\nRUN apt-get install -y --no-install-recommends x", "DL3009"),
        ("FROM a:1\nRUN pip install --no-cache-dir x", "DL3013"),
        ("FROM a:1\nRUN pip install --require-hashes -r x", "DL3042"),
        ("FROM a:1\nRUN wget -O - x | sh", "DL4006"),
        ('FROM a:1\nCMD ["a"]\nCMD ["b"]', "DL4003"),
        ("FROM a:1\nEXPOSE 99999", "DL3011"),
    ],
)  # fmt: skip
def test_each_rule_sees_its_fault(text: str, rule: str) -> None:
    found = [what for what in problems(parse(text)) if rule in what]
    assert found, problems(parse(text))
