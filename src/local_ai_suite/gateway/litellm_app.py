"""The child process that serves LiteLLM's proxy application; see ``litellm_process.py``.

``python -m local_ai_suite.gateway.litellm_app`` prints ``port N`` once its socket is bound. The
config's path comes in CONFIG_FILE_PATH, LiteLLM's own variable.
"""

from __future__ import annotations

import gc
import importlib.util
import socket
import sys
import types

import uvicorn

# LiteLLM looks for opentelemetry-sdk on every request when it is absent, by importing this module
# anew each time; None says once that it is not there.
_ABSENT = ("litellm.integrations.otel.logger",)
# Imported at start by a logger of audio transcriptions, and used by nothing else that is served
# here; its wheel carries an LGPL library, so it is not installed.
_STAND_IN = "soundfile"


def main() -> int:
    """Serve until SIGTERM."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sys.stdout.write(f"port {sock.getsockname()[1]}\n")
    sys.stdout.flush()
    gc.disable()  # 4,200 modules are imported; collecting meanwhile costs a second
    for name in _ABSENT:
        sys.modules[name] = None  # type: ignore[assignment]
    if importlib.util.find_spec(_STAND_IN) is None:
        sys.modules[_STAND_IN] = types.ModuleType(_STAND_IN)
    from litellm.proxy.proxy_server import app  # noqa: PLC0415 (what takes the time)

    gc.collect()
    gc.freeze()
    gc.enable()
    config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=75)
    uvicorn.Server(config).run(sockets=[sock])
    return 0


if __name__ == "__main__":
    sys.exit(main())
