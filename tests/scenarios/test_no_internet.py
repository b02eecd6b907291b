"""Nothing leaves the machine: the whole stack in a network that has nothing but loopback."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from stack_project import Project

EMPTY_NETWORK = [sys.executable, str(Path(__file__).with_name("empty_network.py"))]
ASK = """
import json, sys, urllib.request
body = {"model": "local-chat", "messages": [{"role": "user", "content": "Hello!"}]}
request = urllib.request.Request(
    f"http://localhost:{sys.argv[1]}/v1/chat/completions",
    json.dumps(body).encode(), {"Content-Type": "application/json"},
)
answer = json.load(urllib.request.urlopen(request, timeout=60))
assert answer["choices"][0]["message"]["content"], answer
"""


def packets(done: subprocess.CompletedProcess[str]) -> int:
    found = re.search(r"packets that wanted to leave: (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


@pytest.mark.parametrize("relay", ["on", "off"])
def test_the_stack_starts_and_answers_without_internet_and_asks_for_none(
    fresh: Project, relay: str
) -> None:
    fresh.environment["GATEWAY_RELAY"] = relay  # off: everything goes through LiteLLM
    lais = f"{sys.executable} -m local_ai_suite"
    ask = fresh.folder / "ask.py"
    ask.write_text(ASK)
    script = (
        f"{lais} up && {sys.executable} {ask} {fresh.gateway}; code=$?; {lais} down; exit $code"
    )
    done = fresh.run([*EMPTY_NETWORK, "sh", "-c", script])
    assert done.returncode == 0, done.stdout + done.stderr
    assert packets(done) == 0


def test_the_counter_sees_an_attempt_to_leave(fresh: Project) -> None:
    """Without this one, the test above could not fail."""
    attempt = (
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect(('192.0.2.1', 53))"
    )
    done = fresh.run([*EMPTY_NETWORK, sys.executable, "-c", attempt])
    assert packets(done) > 0
