"""A service with faults. It answers one request at a time, and GET /block never ends.

PORT [--exit-at-once CODE] [--never-ready] [--ignore-sigterm] [--child] [--child-in-own-session]
"""

from __future__ import annotations

import http.server
import signal
import subprocess
import sys
import time

port, flags = int(sys.argv[1]), sys.argv[2:]
if "--exit-at-once" in flags:
    print("the reason stands in the log", flush=True)
    sys.exit(int(flags[flags.index("--exit-at-once") + 1]))
if "--ignore-sigterm" in flags:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
if "--child" in flags or "--child-in-own-session" in flags:
    # An engine of its own, which a killed service leaves behind.
    subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(300)"],
        start_new_session="--child-in-own-session" in flags,
    )


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/block":
            time.sleep(3600)
        self.send_response(503 if "--never-ready" in flags else 200)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


http.server.HTTPServer(("127.0.0.1", port), Answer).serve_forever()
