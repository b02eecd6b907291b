"""llama-server out of the ``xllamacpp`` wheel: ``python -m local_ai_suite.engine.embedded FLAGS``.

The wheel holds llama.cpp's own HTTP server as a library. This launcher takes llama-server's flag
names (``common/arg.cpp``), so that the same arguments start either. The key comes from
``LLAMA_API_KEY``, as with llama-server, and never stands in the arguments. SIGTERM ends it; so
does the death of the process named by ``LAIS_PARENT_PID``, where the kernel can't do that.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

# A generation under way may hold the engine's main loop; then the process ends without it.
STOP_SECONDS = 3
PARENT_POLL_SECONDS = 1.0
BAD_ARGUMENT = 2
NOT_LOADED = 1

Setter = Callable[[Any, str], None]


class BadFlag(ValueError):
    """A flag or its value is not understood; the message is llama-server's style of sentence."""


def _whole(*names: str) -> Setter:
    def put(params: Any, text: str) -> None:
        owner = params
        for name in names[:-1]:
            owner = getattr(owner, name)
        setattr(owner, names[-1], int(text))

    return put


def _text(name: str) -> Setter:
    return lambda params, text: setattr(params, name, text)


def _number(name: str) -> Setter:
    return lambda params, text: setattr(params, name, float(text))


def _set(name: str, value: Any) -> Setter:
    return lambda params, _: setattr(params, name, value)


def _enum(name: str, kind: str, prefix: str, aliases: dict[str, str] | None = None) -> Setter:
    def put(params: Any, text: str) -> None:
        import xllamacpp  # noqa: PLC0415 (100 MB of code, wanted only when it runs)

        values = getattr(xllamacpp, kind)
        key = prefix + (aliases or {}).get(text, text).upper()
        if not hasattr(values, key):
            known = [item.removeprefix(prefix).lower() for item in dir(values) if prefix in item]
            raise BadFlag(f"{text!r} is not one of {', '.join(known)}")
        setattr(params, name, getattr(values, key))

    return put


def _layers(params: Any, text: str) -> None:
    params.n_gpu_layers = {"auto": -1, "all": -2}.get(text) or int(text)


def _on_off(name: str) -> Setter:
    def put(params: Any, text: str) -> None:
        values = {"on": True, "1": True, "true": True, "off": False, "0": False, "false": False}
        if text not in values:
            raise BadFlag(f"{text!r} is not on or off")
        setattr(params, name, values[text])

    return put


def _model(params: Any, text: str) -> None:
    params.model.path = text


def _mmproj(params: Any, text: str) -> None:
    params.mmproj.path = text


def _alias(params: Any, text: str) -> None:
    params.model_alias = {word.strip() for word in text.split(",") if word.strip()}


def _hosts(params: Any, text: str) -> None:
    params.hostnames = [word.strip() for word in text.split(",") if word.strip()]


def _slot_path(params: Any, text: str) -> None:
    if not Path(text).is_dir():
        raise BadFlag(f"not a directory: {text}")
    params.slot_save_path = text.rstrip("/") + "/"


def _template_file(params: Any, text: str) -> None:
    try:
        params.chat_template = Path(text).read_text(encoding="utf-8")
    except OSError as exc:
        raise BadFlag(f"{text} cannot be read: {exc}") from exc


def _reverse_prompt(params: Any, text: str) -> None:
    params.antiprompt = [*params.antiprompt, text]


def _cpu_experts(params: Any, text: str) -> None:
    # common/arg.cpp, llm_add_n_cpu_ffn_overrides with LLM_FFN_EXPS_REGEX
    exps = r"\.ffn_(up|down|gate|gate_up)_(ch|)exps"
    _overrides(params, ",".join(rf"blk\.{layer}{exps}=CPU" for layer in range(int(text))))


def _all_cpu_experts(params: Any, _: str) -> None:
    _overrides(params, r"\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU")


def _device(params: Any, text: str) -> None:
    # The library does not let devices be chosen: with "none" nothing is put on any.
    if text != "none":
        raise BadFlag(f"{text!r}: the embedded engine knows only none")
    params.n_gpu_layers = 0
    params.no_op_offload = params.no_kv_offload = True
    params.mmproj_use_gpu = False


def _overrides(params: Any, text: str) -> None:
    have = params.tensor_buft_overrides
    params.tensor_buft_overrides = ",".join(part for part in (have, text) if part)


def _split(params: Any, text: str) -> None:
    parts = [float(part) for part in text.replace("/", ",").split(",")]
    params.tensor_split = parts + [0.0] * (len(params.tensor_split) - len(parts))


def _rerank(params: Any, _: str) -> None:
    params.embedding = True
    _enum("pooling_type", "llama_pooling_type", "LLAMA_POOLING_TYPE_")(params, "rank")


_FLASH = {"on": "enabled", "off": "disabled", "1": "enabled", "0": "disabled"}
_LOAD = {"dio": "direct_io", "mmap+mlock": "mmap_mlock"}
_CACHE = ("ggml_type", "GGML_TYPE_")

# (names, takes a value, setter); names and meanings as in common/arg.cpp of llama.cpp
_TABLE: tuple[tuple[str, bool, Setter], ...] = (
    ("-m --model", True, _model),
    ("-a --alias", True, _alias),
    ("--host", True, _hosts),
    ("--port", True, _whole("port")),
    ("-c --ctx-size", True, _whole("n_ctx")),
    ("-np --parallel", True, _whole("n_parallel")),
    ("-n --predict --n-predict", True, _whole("n_predict")),
    ("-b --batch-size", True, _whole("n_batch")),
    ("-ub --ubatch-size", True, _whole("n_ubatch")),
    ("--keep", True, _whole("n_keep")),
    ("-t --threads", True, _whole("cpuparams", "n_threads")),
    ("-tb --threads-batch", True, _whole("cpuparams_batch", "n_threads")),
    ("--threads-http", True, _whole("n_threads_http")),
    ("-ngl --gpu-layers --n-gpu-layers", True, _layers),
    ("-dev --device", True, _device),
    ("-mg --main-gpu", True, _whole("main_gpu")),
    ("-ts --tensor-split", True, _split),
    ("-sm --split-mode", True, _enum("split_mode", "llama_split_mode", "LLAMA_SPLIT_MODE_")),
    ("-ot --override-tensor", True, _overrides),
    ("-ncmoe --n-cpu-moe", True, _cpu_experts),
    ("-cmoe --cpu-moe", False, _all_cpu_experts),
    ("-ctk --cache-type-k", True, _enum("cache_type_k", *_CACHE)),
    ("-ctv --cache-type-v", True, _enum("cache_type_v", *_CACHE)),
    (
        "-fa --flash-attn",
        True,
        _enum("flash_attn_type", "llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_", _FLASH),
    ),
    ("-lm --load-mode", True, _enum("load_mode", "llama_load_mode", "LLAMA_LOAD_MODE_", _LOAD)),
    ("-fit --fit", True, _on_off("fit_params")),
    ("-kvu --kv-unified", False, _set("kv_unified", True)),
    ("-no-kvu --no-kv-unified", False, _set("kv_unified", False)),
    ("-kvo --kv-offload", False, _set("no_kv_offload", False)),
    ("-nkvo --no-kv-offload", False, _set("no_kv_offload", True)),
    ("--swa-full", False, _set("swa_full", True)),
    ("-ctxcp --ctx-checkpoints --swa-checkpoints", True, _whole("n_ctx_checkpoints")),
    ("-cram --cache-ram", True, _whole("cache_ram_mib")),
    ("--cache-prompt", False, _set("cache_prompt", True)),
    ("--no-cache-prompt", False, _set("cache_prompt", False)),
    ("--cache-reuse", True, _whole("n_cache_reuse")),
    ("-sps --slot-prompt-similarity", True, _number("slot_prompt_similarity")),
    ("--context-shift", False, _set("ctx_shift", True)),
    ("--no-context-shift", False, _set("ctx_shift", False)),
    ("-cb --cont-batching", False, _set("cont_batching", True)),
    ("--warmup", False, _set("warmup", True)),
    ("--no-warmup", False, _set("warmup", False)),
    ("-mm --mmproj", True, _mmproj),
    ("--no-mmproj --no-mmproj-auto", False, _set("no_mmproj", True)),
    ("--mmproj-offload", False, _set("mmproj_use_gpu", True)),
    ("--no-mmproj-offload", False, _set("mmproj_use_gpu", False)),
    ("--embedding --embeddings", False, _set("embedding", True)),
    ("--rerank --reranking", False, _rerank),
    ("--pooling", True, _enum("pooling_type", "llama_pooling_type", "LLAMA_POOLING_TYPE_")),
    ("--embd-normalize", True, _whole("embd_normalize")),
    ("--rope-freq-base", True, _number("rope_freq_base")),
    ("--rope-freq-scale", True, _number("rope_freq_scale")),
    ("--yarn-orig-ctx", True, _whole("yarn_orig_ctx")),
    ("--jinja", False, _set("use_jinja", True)),
    ("--no-jinja", False, _set("use_jinja", False)),
    ("--chat-template", True, _text("chat_template")),
    ("-r --reverse-prompt", True, _reverse_prompt),
    ("--chat-template-file", True, _template_file),
    (
        "--reasoning-format",
        True,
        _enum(
            "reasoning_format",
            "common_reasoning_format",
            "COMMON_REASONING_FORMAT_",
            {"deepseek-legacy": "deepseek_legacy"},
        ),
    ),
    ("--metrics", False, _set("endpoint_metrics", True)),
    ("--props", False, _set("endpoint_props", True)),
    ("--slots", False, _set("endpoint_slots", True)),
    ("--no-slots", False, _set("endpoint_slots", False)),
    ("--slot-save-path", True, _slot_path),
    ("--ui --webui", False, _set("ui", True)),
    ("--no-ui --no-webui", False, _set("ui", False)),
    ("-to --timeout", True, _whole("timeout_read")),
    ("--sse-ping-interval", True, _whole("sse_ping_interval")),
    ("--sleep-idle-seconds", True, _whole("sleep_idle_seconds")),
    ("--check-tensors", False, _set("check_tensors", True)),
    ("--offline", False, _set("offline", True)),
    ("-lv --verbosity --log-verbosity", True, _whole("verbosity")),
)
_FLAGS = {name: (takes, put) for names, takes, put in _TABLE for name in names.split()}

FLAGS = frozenset(_FLAGS)
"""Every flag that the launcher understands."""


def apply_flags(params: Any, arguments: Sequence[str]) -> None:
    """Set ``arguments`` on xllamacpp's ``CommonParams``. Raises :class:`BadFlag`."""
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=") if word.startswith("--") else (word, "", "")
        known = _FLAGS.get(flag)
        if known is None:
            raise BadFlag(f"invalid argument: {flag} (the embedded engine does not know it)")
        takes, put = known
        if takes and not equals:
            following = next(words, None)
            if following is None:
                raise BadFlag(f"expected value for argument: {flag}")
            value = following
        try:
            put(params, value)
        except (BadFlag, ValueError, TypeError, OverflowError) as exc:
            raise BadFlag(f"error while handling argument {flag!r}: {exc}") from exc


def main(arguments: Sequence[str]) -> int:
    """Serve until SIGTERM. 2: an argument is wrong; 1: the model did not load."""
    import xllamacpp  # noqa: PLC0415

    if "--version" in arguments:
        print(f"version: {metadata.version('xllamacpp')} (xllamacpp)", file=sys.stderr)  # noqa: T201
        return 0
    if "--list-devices" in arguments:
        _list_devices(xllamacpp.get_device_info())
        return 0
    params = xllamacpp.CommonParams()
    params.n_parallel = 1
    params.port = 8080
    try:
        apply_flags(params, arguments)
    except BadFlag as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201
        return BAD_ARGUMENT
    if key := os.environ.get("LLAMA_API_KEY"):
        params.api_keys = [key]
    if parent := os.environ.get("LAIS_PARENT_PID"):
        threading.Thread(target=_end_with, args=(int(parent),), daemon=True).start()
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as exc:
        print(f"error: {exc}", file=sys.stderr)  # noqa: T201
        return NOT_LOADED
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    # The engine's destructor waits for its main loop; the alarm's default action ends us anyway.
    signal.alarm(STOP_SECONDS)
    del server
    return 0


def _list_devices(devices: Sequence[dict[str, Any]]) -> None:
    """What ``llama-server --list-devices`` prints; the CPU is not among them there either."""
    print("Available devices:")  # noqa: T201
    for device in devices:
        if device["name"] != "CPU":
            total, free = (device[key] // 2**20 for key in ("memory_total", "memory_free"))
            shown = f"{device['name']}: {device['description']} ({total} MiB, {free} MiB free)"
            print(f"  {shown}")  # noqa: T201


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_POLL_SECONDS)
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
