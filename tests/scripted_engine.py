"""llama.cpp's own server with a scripted GGUF, in a child process, on a port the system chooses."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_STOP_SECONDS = 10.0
"""The engine needs well under a second to stop; beyond this it is killed."""

_SERVE = """
import sys, xllamacpp
model, alias, context, slots, mode = sys.argv[1:]
p = xllamacpp.CommonParams()
p.model.path, p.model_alias = model, {alias}
p.n_ctx, p.n_parallel, p.embedding = int(context), int(slots), mode != "chat"
if mode == "rerank":
    p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
elif p.embedding:
    p.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
p.hostnames, p.port, p.cpuparams.n_threads = ["127.0.0.1"], 0, 1
p.n_gpu_layers, p.fit_params, p.warmup, p.use_jinja = 0, False, False, True
p.endpoint_slots, p.endpoint_metrics = True, True
server = xllamacpp.Server(p)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Engine:
    """A running engine: its address without a path, and its process id."""

    url: str
    pid: int


@contextlib.contextmanager
def engine(
    model: Path,
    *,
    alias: str = "local-chat",
    context: int = 16_384,
    slots: int = 4,
    mode: str = "chat",
) -> Iterator[Engine]:
    """The engine with `model`; `context` tokens are shared by `slots`. Ends with its stdin."""
    argv = [sys.executable, "-c", _SERVE, str(model), alias, str(context), str(slots), mode]
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address, "the engine ended before it listened"
            yield Engine(address, process.pid)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
