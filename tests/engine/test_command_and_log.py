"""Arguments for llama-server, and what its log tells. The embedded launcher's flags."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from local_ai_suite.catalog.catalog import configured_models
from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.engine.command import SPIN_COUNT, arguments, environment
from local_ai_suite.engine.embedded import FLAGS, BadFlag, apply_flags
from local_ai_suite.engine.llama_server import STALL_SECONDS, STALL_SECONDS_GPU, stall_bound
from local_ai_suite.engine.placement import FitPlanner
from local_ai_suite.engine.readback import (
    Actual,
    Expected,
    LogFacts,
    compare,
    failure_reason,
)
from local_ai_suite.engine.service import gpu_warnings
from local_ai_suite.engines.find import (
    FoundEngine,
    find_engines,
    free_on_devices,
    parse_devices,
    parse_version,
)
from local_ai_suite.errors import EngineNotFound, FitError
from local_ai_suite.hardware import Gpu, Hardware
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from local_ai_suite.paths import Paths

GIB = 2**30
ROOM = {"CPU": 8 * GIB}


def planned(paths: Paths, machine: Hardware, room: dict[str, int], **environ: str) -> Any:
    write_scripted_gguf(paths.project / "models" / "m.gguf")
    settings = load_settings(paths, environ=environ)
    entry = configured_models(settings, paths).entries[0]
    planner = FitPlanner(settings, machine, engine_has_gpu=bool(machine.gpus))
    return entry, planner(entry, room, {}, {})


def test_every_flag_that_a_plan_needs_is_one_the_embedded_engine_knows(paths: Paths) -> None:
    entry, plan = planned(paths, Hardware(), ROOM, THREADS="2")
    engine = FoundEngine("embedded", ("python", "-m", "x"), "it is there")
    words = arguments(engine, entry, plan.fit, port=1234, slot_folder=paths.project)
    assert words[:3] == ["python", "-m", "x"]
    used = {word for word in words[3:] if word.startswith("--")}
    assert used <= FLAGS
    assert {"--model", "--port", "--ctx-size", "--n-gpu-layers", "--fit"} <= used


def test_an_older_engine_gets_only_the_flags_it_knows(paths: Paths) -> None:
    entry, plan = planned(paths, Hardware(), ROOM)
    old = FoundEngine("path", ("llama-server",), "on PATH", flags=frozenset({"--model"}))
    words = arguments(old, entry, plan.fit, port=1)
    assert "--fit" not in words
    assert "off" not in words
    assert "--ctx-size" in words, "what matters is never left out"


def test_a_card_that_a_plan_does_not_use_is_switched_off(paths: Paths) -> None:
    card = Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU", total_bytes=6 * GIB, free_bytes=5 * GIB)
    room = {**ROOM, "CUDA0": 5 * GIB}
    engine = FoundEngine("built", ("llama-server",), "built", gpu=True)
    entry, on_cpu = planned(paths, Hardware((card,)), room, N_GPU_LAYERS="0")
    words = arguments(engine, entry, on_cpu.fit, port=1)
    assert words[words.index("--device") + 1] == "none"
    entry, on_card = planned(paths, Hardware((card,)), room)
    assert "--device" not in arguments(engine, entry, on_card.fit, port=1)
    for without in (replace(engine, gpu=False), replace(engine, flags=frozenset({"--model"}))):
        assert "--device" not in arguments(without, entry, on_cpu.fit, port=1)
    import xllamacpp

    embedded = xllamacpp.CommonParams()
    apply_flags(embedded, ["--device", "none"])
    assert (embedded.n_gpu_layers, embedded.no_op_offload) == (0, True)
    with pytest.raises(BadFlag, match="none"):
        apply_flags(embedded, ["--device", "CUDA0"])


def test_secrets_and_flags_in_disguise_stay_out_of_an_engines_environment() -> None:
    ours = {
        "PATH": "/bin", "HF_TOKEN": "s", "LITELLM_MASTER_KEY": "s", "LLAMA_ARG_CTX_SIZE": "9",
        "LLAMA_API_KEY": "other", "INFERENCE_API_KEY": "s",
    }  # fmt: skip
    env = environment(ours, key="k", cuda_visible_devices="", parent=7)
    assert env == {
        "PATH": "/bin", "LLAMA_API_KEY": "k", "LAIS_PARENT_PID": "7", "CUDA_VISIBLE_DEVICES": "",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "GOMP_SPINCOUNT": SPIN_COUNT,
    }  # fmt: skip


@pytest.mark.parametrize(
    "own", [{"OMP_WAIT_POLICY": "active"}, {"GOMP_SPINCOUNT": "7"}], ids=lambda own: next(iter(own))
)
def test_how_threads_wait_is_left_as_a_person_set_it(own: dict[str, str]) -> None:
    env = environment(own, key="k", cuda_visible_devices=None, parent=7)
    assert {name: env[name] for name in env if name.startswith(("OMP_", "GOMP_"))} == own


def test_a_model_that_does_not_fit_is_an_error_and_an_explicit_size_is_tried(paths: Paths) -> None:
    tiny = {"CPU": 20 * 2**20}
    with pytest.raises(FitError, match="does not fit"):
        planned(paths, Hardware(), tiny)
    _, plan = planned(paths, Hardware(), tiny, CTX_SIZE="4096")
    assert plan.fit.ctx_size == 4096
    assert plan.need["CPU"] <= tiny["CPU"], "the ledger gives it all there is, not more"


def test_a_second_model_is_planned_beside_the_first_where_both_fit(paths: Paths) -> None:
    write_scripted_gguf(paths.project / "models" / "m.gguf")
    settings = load_settings(paths, environ={})
    entry = configured_models(settings, paths).entries[0]
    gpu = Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU", total_bytes=6 * GIB, free_bytes=5 * GIB)
    planner = FitPlanner(settings, Hardware(gpus=(gpu,)), engine_has_gpu=True)
    room = {"CPU": 8 * GIB, "CUDA0": 5 * GIB}
    beside = planner(entry, room, {"other": {"CUDA0": 2 * GIB}}, {})
    assert beside.alongside == ("other",)
    assert beside.fit.n_gpu_layers > 0
    assert beside.need["CUDA0"] <= 3 * GIB
    instead = planner(entry, room, {"other": {"CUDA0": 5 * GIB}}, {})
    assert instead.alongside == ()
    assert instead.fit.n_gpu_layers > 0, "better in the other's place than beside it on the CPU"


LOG = """
0.00.006.514 I load_tensors: offloading 28 repeating layers to GPU
0.00.006.514 I load_tensors: offloaded 29/37 layers to GPU
0.00.006.514 I load_tensors:   CPU_Mapped model buffer size =   100.00 MiB
0.00.006.514 I load_tensors:        CUDA0 model buffer size =  1834.82 MiB
0.00.006.789 I llama_context: n_ctx_seq             = 8192
0.00.006.893 I llama_kv_cache:      CUDA0 KV buffer size =   288.00 MiB
0.00.008.216 I sched_reserve:      CUDA0 compute buffer size =   300.75 MiB
0.00.008.216 I sched_reserve:  CUDA_Host compute buffer size =    20.00 MiB
"""


def test_the_log_tells_layers_buffers_and_context() -> None:
    facts = LogFacts()
    for line in LOG.splitlines():
        facts.read(line)
    assert (facts.layers_offloaded, facts.layers_total) == (29, 37)
    assert facts.context_per_slot == 8192
    total = facts.bytes_by_device()
    assert total["CUDA0"] // 2**20 == 2423
    assert total["CPU"] // 2**20 == 120


def test_fewer_layers_than_planned_or_the_cpu_alone_is_a_misfit() -> None:
    expected = Expected(n_gpu_layers=37, context_per_slot=8192)
    some = compare(expected, Actual(8192, 1, 29, 37))
    assert [item.failure for item in some] == [True]
    assert "29 layers are on the GPU, planned were 37" in some[0].message
    none = compare(expected, Actual(8192, 1, None, None, {("CPU", "model"): 1}))
    assert "everything landed on the CPU" in none[0].message
    assert not compare(expected, Actual(8192, 1, 37, 37))


def test_more_memory_than_projected_is_a_warning_and_no_failure() -> None:
    expected = Expected(bytes_by_device={"CPU": GIB})
    found = compare(expected, Actual(buffers={("CPU", "model"): 2 * GIB}))
    assert [item.failure for item in found] == [False]


def test_the_instructions_that_a_binary_uses_are_read_off_its_own_log() -> None:
    line = (
        "0.00.025.196 I cmn  common_param: system_info: n_threads = 2 (n_threads_batch = 2) / 2 | "
        "CUDA : ARCHS = 890 | USE_GRAPHS = 1 | CPU : SSE3 = 1 | AVX2 = 1 | AVX512 = 0 | "
        "REPACK = 1 | "
    )
    facts = LogFacts()
    facts.read(line)
    facts.read("0.00.025.200 I something else")
    assert facts.cpu_features == ("SSE3", "AVX2", "REPACK")
    assert LogFacts().cpu_features == ()


def test_the_cause_is_found_among_the_lines_that_only_repeat_that_it_failed() -> None:
    lines = [
        "0.00.005.001 I srv    load_model: loading model 'x'",
        "0.00.005.246 E llama_model_load: error loading model: tensor 'a' is not within bounds",
        "0.00.005.263 E llama_model_load_from_file_impl: failed to load model",
        "0.00.005.798 E srv          init: exiting due to model loading error",
    ]
    assert failure_reason(lines) == (
        "llama_model_load: error loading model: tensor 'a' is not within bounds"
    )
    assert failure_reason(["CUDA error: out of memory"]) == "CUDA error: out of memory"
    assert failure_reason(["all is well"]) is None


def embedded(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "local_ai_suite.engine.embedded", *words],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_an_unknown_flag_of_the_embedded_engine_is_a_clear_error() -> None:
    done = embedded("--no-such-flag", "1")
    assert done.returncode == 2
    assert "invalid argument: --no-such-flag" in done.stderr


def test_a_file_that_is_no_model_ends_the_embedded_engine_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "x.gguf").write_bytes(b"not a model at all")
    done = embedded("--model", str(tmp_path / "x.gguf"), "--port", "0")
    assert done.returncode == 1
    assert "invalid magic" in done.stderr


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["--ctx-size"], "expected value"),
        (["--ctx-size", "many"], "--ctx-size"),
        (["--cache-type-k", "q9_9"], "--cache-type-k"),
        (["--flash-attn", "perhaps"], "--flash-attn"),
        (["--slot-save-path", "/no/such/folder"], "not a directory"),
    ],
)
def test_a_wrong_value_names_its_flag(words: list[str], wrong: str) -> None:
    import xllamacpp

    with pytest.raises(BadFlag, match=wrong):
        apply_flags(xllamacpp.CommonParams(), words)


def test_flags_reach_the_engines_parameters() -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    apply_flags(
        params,
        ["-m", "x.gguf", "--ctx-size=1024", "-np", "3", "-ngl", "all", "--cache-type-v", "q8_0",
         "--flash-attn", "on", "--n-cpu-moe", "2", "--no-webui", "--threads", "5", "--fit", "off"],
    )  # fmt: skip
    assert params.model.path == "x.gguf"
    assert (params.n_ctx, params.n_parallel, params.n_gpu_layers) == (1024, 3, -2)
    assert params.cache_type_v == xllamacpp.ggml_type.GGML_TYPE_Q8_0
    assert params.cpuparams.n_threads == 5
    assert params.fit_params is False


def test_a_named_engine_that_is_not_there_is_an_error(paths: Paths) -> None:
    settings = load_settings(paths, environ={"LLAMA_SERVER": "/no/such/llama-server"})
    with pytest.raises(EngineNotFound, match="is not there"):
        find_engines(settings, paths, environ={"PATH": ""})


def test_the_order_is_the_setting_then_the_path_then_the_embedded_one(
    paths: Paths, tmp_path: Path
) -> None:
    for folder in ("named", "bin"):
        tool = tmp_path / folder / "llama-server"
        tool.parent.mkdir()
        tool.write_text(
            '#!/bin/sh\ncase "$1" in --version) echo "version: 5 (abc)" >&2;; '
            '--list-devices) echo "Available devices:"; echo "  CUDA0: RTX (6140 MiB, 1 MiB free)"'
            ";; esac\n"
        )
        tool.chmod(0o755)
    settings = load_settings(paths, environ={"LLAMA_SERVER": str(tmp_path / "named/llama-server")})
    found = find_engines(settings, paths, environ={"PATH": f"{tmp_path}/bin:/bin"})
    assert [item.source for item in found] == ["setting", "path", "embedded"]
    assert found[0].gpu is True
    assert found[0].version == "5 (abc)"
    assert "LLAMA_SERVER names it" in found[0].reason


def test_devices_and_versions_are_read_as_llama_server_prints_them() -> None:
    text = "Available devices:\n  CUDA0: NVIDIA X (6140 MiB, 5890 MiB free)\n  BLAS: x (0 MiB)\n"
    assert parse_devices(text) == ("CUDA0: NVIDIA X (6140 MiB, 5890 MiB free)",)
    assert free_on_devices(parse_devices(text)) == {"CUDA0": 5890 << 20}
    assert free_on_devices(
        ("Vulkan0: AMD (RADV) RX 6600 (8176 MiB, 8000 MiB free)", "CUDA1: x")
    ) == {"Vulkan0": 8000 << 20}
    assert parse_version("version: 6123 (1a2b3c4)\nbuilt with gcc") == "6123 (1a2b3c4)"
    assert parse_version(None) is None


def test_a_gpu_that_the_engine_cannot_use_is_a_loud_warning(paths: Paths) -> None:
    machine = Hardware(gpus=(Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU"),))
    settings = load_settings(paths, environ={})
    without = FoundEngine("embedded", ("x",), "it is there", gpu=False)
    (warning,) = gpu_warnings(machine, without, settings)
    assert "RTX 4050" in warning
    assert "lais engine build" in warning
    assert not gpu_warnings(machine, FoundEngine("built", ("x",), "built", gpu=True), settings)
    assert not gpu_warnings(Hardware(), without, settings)
    cpu_only = load_settings(paths, environ={"CUDA_VISIBLE_DEVICES": ""})
    assert not gpu_warnings(machine, without, cpu_only)


def test_a_gpu_that_only_the_engine_knows_is_said_to_be_unused(paths: Paths) -> None:
    vulkan = FoundEngine(
        "path", ("x",), "on PATH", gpu=True, devices=("Vulkan0: AMD Radeon RX 6600 (8176 MiB)",)
    )
    (warning,) = gpu_warnings(Hardware(), vulkan, load_settings(paths, environ={}))
    assert "Vulkan0: AMD Radeon RX 6600" in warning
    assert "only NVIDIA's GPUs are planned for" in warning
    card = Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU")
    assert not gpu_warnings(Hardware((card,)), vulkan, load_settings(paths, environ={}))
    for known in ({"N_GPU_LAYERS": "0"}, {"CUDA_VISIBLE_DEVICES": ""}):
        assert not gpu_warnings(Hardware(), vulkan, load_settings(paths, environ=known))


def test_an_engine_all_on_the_gpu_hangs_sooner_than_one_whose_batches_take_minutes(
    paths: Paths,
) -> None:
    card = Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU", total_bytes=6 * GIB, free_bytes=5 * GIB)
    room = {"CPU": 8 * GIB, "CUDA0": 5 * GIB}
    write_scripted_gguf(paths.project / "models" / "m.gguf")
    settings = load_settings(paths, environ={})
    entry = configured_models(settings, paths).entries[0]
    on_gpu = FitPlanner(settings, Hardware((card,)), engine_has_gpu=True)(entry, room, {}, {}).fit
    on_cpu = FitPlanner(settings, Hardware(), engine_has_gpu=False)(entry, room, {}, {}).fit
    assert stall_bound(on_gpu, STALL_SECONDS) == STALL_SECONDS_GPU
    assert stall_bound(replace(on_gpu, n_gpu_layers=1), STALL_SECONDS) == STALL_SECONDS
    assert stall_bound(on_cpu, STALL_SECONDS) == STALL_SECONDS
    assert stall_bound(on_gpu, 0.3) == 0.3
