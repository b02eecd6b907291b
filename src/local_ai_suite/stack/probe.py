"""Short HTTP questions to our own services on loopback.

``python -m local_ai_suite.stack.probe PORT PATH`` exits with 0 on a 200: the containers' health
check, since their images have no curl.
"""

from __future__ import annotations

import http.client
import sys
from typing import Any

import orjson

# A service that is up answers these from memory; slower means stuck, or a machine under load.
PROBE_TIMEOUT_S = 5.0
_LARGEST_ANSWER = 4 * 1024 * 1024


def ask(
    port: int,
    path: str,
    *,
    key: str | None = None,
    body: dict[str, Any] | None = None,
    timeout_s: float = PROBE_TIMEOUT_S,
) -> tuple[int, bytes] | None:
    """Status and body of ``GET path`` (``POST`` with a body) on 127.0.0.1.

    ``None`` when nobody answers in time.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, orjson.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read(_LARGEST_ANSWER)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def get_json(port: int, path: str, *, key: str | None = None) -> Any | None:
    """The decoded body of a 200, else ``None``."""
    answer = ask(port, path, key=key)
    if answer is None or answer[0] != http.client.OK:
        return None
    try:
        return orjson.loads(answer[1])
    except ValueError:
        return None


if __name__ == "__main__":
    answered = ask(int(sys.argv[1]), sys.argv[2], timeout_s=2.0)
    sys.exit(0 if answered and answered[0] == http.client.OK else 1)
