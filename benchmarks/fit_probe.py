"""Loads a model in the embedded engine and prints what its log says it allocated, as JSON.

Run in a process of its own: ``python fit_probe.py '{"path": ..., "ctx_size": ...}'``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

LOAD_TIMEOUT = 120.0  # sparse files load in under a second; a busy machine takes longer
_BUFFER = re.compile(r"(?P<what>model|KV|RS|compute|output) buffer size\s*=\s*(?P<mib>[\d.]+) MiB")
# What llama.cpp itself projects (the code of llama-fit-params), before it loads.
_PROJECTED = re.compile(
    r"memory_breakdown_print: \|\s+- Host\s+\|\s+\d+ =\s+(?P<weights>\d+) \+\s+(?P<kv_cache>\d+) "
    r"\+\s+(?P<compute>\d+)"
)
_PROJECTION_ENDS = "fitting params to free memory took"
READY = "PROBE-READY"
_LAST_LINE = "reserve took"  # llama_context::sched_reserve, after the compute buffers
_CONTEXT = re.compile(r"n_ctx_seq\s*=\s*(\d+)")


class LoadRefused(Exception):
    """The engine did not load the model; holds the end of its log."""


def probe(**load: Any) -> dict[str, float]:
    """MiB by part: ``weights``, ``kv_cache``, ``compute``; and ``ctx_size`` (tokens per slot).

    ``load`` has the path and the fields of ``fit.memory.Load``; with ``own_projection`` the engine
    projects, too, before it loads (``PART_projected``).
    """
    command = [sys.executable, str(Path(__file__).resolve()), json.dumps(load, default=str)]
    lines: list[str] = []
    is_ready = is_measured = False
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as child:
        assert child.stdout is not None
        timer = threading.Timer(LOAD_TIMEOUT, child.kill)
        timer.start()
        # The engine logs from a thread of its own: the last number may come after it is ready.
        for line in child.stdout:
            lines.append(line)
            is_ready |= READY in line
            if _PROJECTION_ENDS in line:
                is_measured = False
            is_measured |= _LAST_LINE in line
            if is_ready and is_measured:
                break
        is_late = not timer.is_alive()
        timer.cancel()
        child.kill()
    if is_late and not (is_ready and is_measured):
        raise LoadRefused(f"not loaded within {LOAD_TIMEOUT:g} s: this machine is busy")
    if not (is_ready and is_measured):
        raise LoadRefused("".join([line for line in lines if " E " in line][:8] or lines[-8:]))
    return read_log("".join(lines))


def read_log(text: str) -> dict[str, float]:
    """The engine's own numbers: each buffer is logged once, where it is allocated.

    ``PART_projected`` is what llama.cpp projected for the part, if it was asked to.
    """
    before, _, after = text.rpartition(_PROJECTION_ENDS)
    text = after if before else text
    parts = {"weights": 0.0, "kv_cache": 0.0, "compute": 0.0}
    names = {"model": "weights", "KV": "kv_cache", "RS": "kv_cache", "compute": "compute"}
    for match in _BUFFER.finditer(text):
        if match["what"] in names:
            parts[names[match["what"]]] += float(match["mib"])
    if match := _CONTEXT.search(text):
        parts["ctx_size"] = float(match[1])
    if match := _PROJECTED.search(before):
        parts |= {f"{name}_projected": float(size) for name, size in match.groupdict().items()}
    return parts


def _main(load: dict[str, Any]) -> None:
    import xllamacpp  # noqa: PLC0415 (the parent needs no engine)

    parameters = xllamacpp.CommonParams()
    parameters.model.path = load["path"]
    parameters.n_ctx = load["n_ctx"]
    parameters.n_parallel = load["parallel"]
    parameters.kv_unified = load["kv_unified"]
    parameters.n_batch = load["batch_size"]
    parameters.n_ubatch = load["ubatch_size"]
    parameters.embedding = load["embedding"]
    types = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30, "q5_0": 6, "q5_1": 7, "q4_1": 3}
    parameters.cache_type_k = xllamacpp.ggml_type(types[load["cache_type_k"]])
    parameters.cache_type_v = xllamacpp.ggml_type(types[load["cache_type_v"]])
    if not load["flash_attention"]:
        parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.no_extra_bufts = True  # repacking would read the whole of a sparse file
    parameters.warmup = False
    parameters.fit_params = bool(load.get("own_projection"))
    parameters.verbosity = 5
    parameters.port = 0
    server = xllamacpp.Server(parameters)
    print(READY, server is not None, flush=True)
    sys.stdin.read()  # until the parent has read the log and ends this


if __name__ == "__main__":
    _main(json.loads(sys.argv[1]))
