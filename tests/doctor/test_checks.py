"""Each check over facts that the test makes up: what it says, and what it advises."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from local_ai_suite.catalog.catalog import Catalog, ModelEntry
from local_ai_suite.cli.doctor import as_text
from local_ai_suite.demo import Script, write_scripted_gguf
from local_ai_suite.doctor import Report, Snapshot, examine, machine, preflight, project, tools
from local_ai_suite.doctor.check import Check
from local_ai_suite.doctor.snapshot import DockerFacts, Folder, PortFact
from local_ai_suite.engine.pace import Speed
from local_ai_suite.engines.find import FoundEngine
from local_ai_suite.errors import (
    EngineNotFound,
    GatewayError,
    ModelError,
    SettingsError,
    StackError,
)
from local_ai_suite.fit import Lesson, PartComparison, Record
from local_ai_suite.gguf import read_gguf
from local_ai_suite.hardware import Gpu, Hardware, OtherGpu
from local_ai_suite.paths import Paths
from local_ai_suite.settings import Settings
from local_ai_suite.stack import compose, ports
from local_ai_suite.stack.ports import PortHolder
from local_ai_suite.stack.state import RunState, ServiceState

MIB, GIB = 1 << 20, 1 << 30
RTX = Gpu(0, "NVIDIA GeForce RTX 4050 Laptop GPU", 6141 * MIB, 5800 * MIB, "560.94", "GPU-1")
CPU = FoundEngine("embedded", ("python",), "it is installed", "b6123", gpu=False)
CUDA = FoundEngine("path", ("/usr/bin/llama-server",), "it is on PATH", "b6123", gpu=True,
                   devices=("CUDA0: NVIDIA GeForce RTX 4050 (6140 MiB)",))  # fmt: skip


@pytest.fixture
def facts(paths: Paths, tmp_path: Path):
    model = write_scripted_gguf(tmp_path / "model.gguf")
    entry = ModelEntry(("local-chat", "local-code"), read_gguf(model), "chat", "it is the only one")

    def make(**changes: object) -> Snapshot:
        good = {
            "settings": Settings(),
            "env_mode": 0o600,
            "hardware": Hardware(memory_total_bytes=16 * GIB, memory_available_bytes=12 * GIB),
            "engines": (CPU,),
            "catalog": Catalog((entry,)),
            "project": Folder(paths.project, free_bytes=50 * GIB),
            "models": Folder(paths.project / "models", free_bytes=50 * GIB),
            "state": Folder(paths.state, free_bytes=50 * GIB),
            "ports": (PortFact("API_GATEWAY_PORT", 8000), PortFact("INFERENCE_PORT", 8001)),
            "docker": DockerFacts(trouble=StackError("docker is not installed", hint="")),
            "versions": {"local-ai-suite": "0.1.0", "litellm": "1.106.2", "xllamacpp": "2026.10"},
        }
        return Snapshot(paths=paths, **{**good, **changes})

    return make


def named(checks: Report | list[Check], name: str) -> list[Check]:
    found = checks.checks if isinstance(checks, Report) else checks
    return [check for check in found if check.name == name]


def only(checks: Report | list[Check], name: str) -> Check:
    (check,) = named(checks, name)
    return check


# The whole


def test_a_machine_in_order_has_one_warning_for_the_missing_gpu(facts) -> None:
    report = preflight(facts())
    assert report.will_work
    assert [check.name for check in report.warnings] == ["gpu"]
    assert report.conclusion() == "`make up-p1` will work; 1 warning above."


def test_every_warning_and_failure_says_what_to_do(facts, paths: Paths) -> None:
    worst = facts(
        settings=Settings(n_gpu_layers=35, warnings=("CHAT_MODLE is not a setting",)),
        env_mode=0o644,
        env_tracked=True,
        hardware=Hardware(gpus=(RTX,), memory_total_bytes=GIB, memory_available_bytes=MIB),
        engines=(),
        catalog=None,
        models_error=ModelError("gone", hint="look"),
        gateway_error=GatewayError("line 3", hint="correct it"),
        project=Folder(paths.project, "windows_drive"),
        models=Folder(paths.project, "windows_drive", 1),
        state=Folder(paths.state, "windows_drive", 1, writable=False),
        ports=(PortFact("API_GATEWAY_PORT", 8000, PortHolder(8000, None, None, None)),),
        docker=DockerFacts("28.0", "2.26.1", gpu=False),
        versions={},
        python=(3, 9),
    )
    report = examine(worst)
    assert not report.will_work
    bad = [check for check in report.checks if check.status != "ok"]
    assert len(bad) >= 15
    for check in bad:
        assert check.remedy, check.name
        assert check.message


def test_every_check_is_in_the_documentation(facts) -> None:
    page = (Path(__file__).parents[2] / "docs" / "guides" / "doctor.md").read_text(encoding="utf-8")
    good = facts(hardware=Hardware(gpus=(RTX,)), docker=DockerFacts("28", "2.26", gpu=True))
    for check in preflight(good).checks:
        assert f"\n| {check.name} |" in page, check.name


def test_the_text_has_a_line_per_check_a_remedy_and_the_conclusion(facts) -> None:
    report = preflight(facts())
    lines = as_text(report).splitlines()
    assert sum(line.startswith(("ok ", "warning ", "FAILURE ")) for line in lines) == len(
        report.checks
    )
    assert any(line.strip().startswith("-> ") for line in lines)
    assert lines[-1] == report.conclusion()
    assert "\x1b" not in as_text(report)


def test_the_data_holds_every_check(facts) -> None:
    data = preflight(facts()).as_data()
    assert data["will_work"] is True
    assert {"name", "status", "message", "remedy", "details"} == set(data["checks"][0])


# The GPU


def test_a_gpu_is_shown_with_its_memory_and_driver(facts) -> None:
    check = machine.check_gpu(facts(hardware=Hardware(gpus=(RTX,))))
    assert check.status == "ok"
    assert check.message == f"{RTX.name}, 5800 of 6141 MiB free, driver 560.94"


@pytest.mark.parametrize(
    ("hardware", "on_bus", "says", "advises"),
    [
        (Hardware(), False, "no NVIDIA GPU was found", "If there is one"),
        (Hardware(), True, "its driver is not", "nvidia-driver"),
        (Hardware(is_wsl=True), False, "no NVIDIA GPU was found", "driver in Windows"),
        (Hardware(gpu_problem="nvidia-smi: Failed to initialize NVML"), True, "NVML", "reboot"),
        (
            Hardware(is_wsl=True, gpu_problem="GPU access blocked"),
            False,
            "blocked",
            "wsl --shutdown",
        ),
    ],
)
def test_a_missing_gpu_is_a_warning_with_the_way_to_one(
    facts, hardware, on_bus, says, advises
) -> None:
    check = machine.check_gpu(facts(hardware=hardware, nvidia_on_bus=on_bus))
    assert check.status == "warning"
    assert says in check.message
    assert "the CPU does the work" in check.message
    assert advises in check.remedy


def test_another_makers_gpu_is_named_with_what_is_done_about_it(facts) -> None:
    amd = Hardware(other_gpus=(OtherGpu("AMD", "1002:744c", 24560 << 20),))
    check = machine.check_gpu(facts(hardware=amd))
    assert check.status == "warning"
    assert check.message.startswith("AMD GPU [1002:744c] with 24560 MiB: only NVIDIA's GPUs")
    known = machine.check_gpu(facts(hardware=amd, settings=Settings(n_gpu_layers=0)))
    assert known.status == "ok"


def test_a_speed_far_under_the_expected_one_is_a_warning(facts) -> None:
    speeds = {"a": Speed(40.0, 35.0, 3), "b": Speed(40.0, 9.0, 3), "c": Speed(40.0, 9.0, 0)}
    found = machine.check_projections(facts(speeds=speeds))
    assert [check.status for check in found] == ["ok", "warning", "ok"]
    assert "beside other work" in found[2].message
    assert found[1].message == "b: 9.0 tokens/s generated when last looked, 40.0 expected"
    assert "battery" in found[1].remedy


def test_layers_for_a_gpu_that_is_not_there_are_mentioned(facts) -> None:
    check = machine.check_gpu(facts(settings=Settings(n_gpu_layers=35)))
    assert "N_GPU_LAYERS=35 has no effect" in check.message


def test_an_empty_cuda_visible_devices_is_as_wanted(facts) -> None:
    wanted = facts(
        hardware=Hardware(gpus=(RTX,)), settings=Settings(cuda_visible_devices=""), engines=(CPU,)
    )
    assert machine.check_gpu(wanted).status == "ok"
    assert named(tools.check_engine(wanted), "engine-gpu") == []


def test_devices_that_do_not_exist_are_named(facts) -> None:
    check = machine.check_gpu(
        facts(hardware=Hardware(gpus=(RTX,)), settings=Settings(cuda_visible_devices="3"))
    )
    assert check.status == "warning"
    assert "there are: 0" in check.message


def test_a_gpu_that_the_engine_cannot_use_is_shouted_about(facts) -> None:
    check = only(tools.check_engine(facts(hardware=Hardware(gpus=(RTX,)))), "engine-gpu")
    assert check.status == "warning"
    assert "THE GPU WILL NOT BE USED" in check.message
    assert RTX.name in check.message
    for way in ("lais engine build", "LLAMA_SERVER", "RUNTIME=docker"):
        assert way in check.remedy


def test_an_engine_with_cuda_that_sees_no_device_points_at_the_driver(facts) -> None:
    blind = FoundEngine("path", ("x",), "on PATH", "b1", gpu=True)
    check = only(
        tools.check_engine(facts(hardware=Hardware(gpus=(RTX,)), engines=(blind,))), "engine-gpu"
    )
    assert "sees no device" in check.message
    assert "driver" in check.remedy


def test_an_engine_that_sees_the_gpu_is_fine(facts) -> None:
    found = tools.check_engine(facts(hardware=Hardware(gpus=(RTX,)), engines=(CUDA,)))
    assert only(found, "engine-gpu").status == "ok"


# The engine, the gateway, Docker


def test_no_engine_is_a_failure_for_processes_and_a_warning_where_docker_is_there(facts) -> None:
    error = EngineNotFound("LLAMA_SERVER is gone", hint="Give the path")
    alone = only(tools.check_engine(facts(engines=(), engine_error=error)), "engine")
    assert (alone.status, alone.message) == ("failure", "LLAMA_SERVER is gone")
    docker = facts(engines=(), engine_error=error, docker=DockerFacts("28", "2.26"))
    assert only(tools.check_engine(docker), "engine").status == "warning"


def test_an_engine_that_does_not_answer_is_told_apart(facts) -> None:
    mute = FoundEngine("setting", ("/opt/llama-server",), "LLAMA_SERVER names it")
    check = only(tools.check_engine(facts(engines=(mute,))), "engine")
    assert check.status == "failure"
    assert "/opt/llama-server --version" in check.remedy


def test_the_gateway_must_be_installed_and_not_be_the_stolen_release(facts) -> None:
    assert tools.check_gateway(facts(versions={"litellm": None}))[0].status == "failure"
    stolen = tools.check_gateway(facts(versions={"litellm": "1.82.7"}))[0]
    assert stolen.status == "failure"
    assert "credential stealer" in stolen.message


def test_docker_trouble_is_a_failure_only_when_docker_was_asked_for(facts) -> None:
    trouble = DockerFacts(trouble=StackError("the Docker engine does not run", hint="Start it."))
    wanted = tools.check_docker(facts(docker=trouble, settings=Settings(runtime="docker")))[0]
    assert (wanted.status, wanted.remedy) == ("failure", "Start it.")
    assert tools.check_docker(facts(docker=trouble))[0].status == "ok"
    assert tools.check_docker(facts(docker=None))[0].status == "ok"


@pytest.mark.parametrize(("gpu", "status"), [(True, "ok"), (False, "warning")])
def test_dockers_own_way_to_the_gpu_is_looked_at(facts, gpu, status) -> None:
    found = tools.check_docker(
        facts(hardware=Hardware(gpus=(RTX,)), docker=DockerFacts("28", "2.26", gpu=gpu))
    )
    assert only(found, "docker-gpu").status == status


@pytest.mark.parametrize(
    ("inside", "status", "says"),
    [
        (("GPU 0: NVIDIA GeForce RTX 4050",), "ok", "a container sees GPU 0"),
        (StackError("Docker cannot pass the GPU through", hint="Toolkit."), "warning", "refused"),
        (None, "ok", "once the images are built"),
    ],
)
def test_the_gpu_is_asked_for_from_inside_a_container(facts, inside, status, says) -> None:
    docker = DockerFacts("28", "2.26", gpu=True, inside=inside)
    check = only(tools.check_docker(facts(hardware=Hardware(gpus=(RTX,)), docker=docker)),
                 "docker-gpu")  # fmt: skip
    assert check.status == status
    assert says in check.message
    assert check.remedy or status == "ok"


@pytest.mark.parametrize(("free", "status"), [(50e9, "ok"), (1e9, "warning")])
def test_the_disk_of_docker_is_looked_at(facts, free, status) -> None:
    root = Folder(Path("/var/lib/docker"), free_bytes=int(free))
    found = tools.check_docker(facts(docker=DockerFacts("28", "2.26", root=root)))
    assert only(found, "docker-disk").status == status


def test_an_old_python_is_a_failure(facts) -> None:
    assert tools.check_python(facts(python=(3, 10))).status == "failure"


# Settings


def test_wrong_settings_are_the_first_failure(facts) -> None:
    error = SettingsError("CTX_SIZE is '4k' (set in: .env line 3)", hint="Change it")
    report = preflight(facts(settings=None, settings_error=error))
    assert report.failures[0].message == error.message
    assert report.failures[0].remedy == "Change it"


def test_without_env_the_first_up_makes_it_unless_the_example_is_gone(facts) -> None:
    assert project.check_settings(facts(env_mode=None))[0].status == "ok"
    gone = project.check_settings(facts(env_mode=None, example_there=False))[0]
    assert gone.status == "failure"
    assert "git checkout" in gone.remedy


def test_a_key_that_others_can_read_is_a_warning(facts, paths: Paths) -> None:
    checks = project.check_settings(facts(env_mode=0o644))
    assert checks[-1].remedy == "chmod 600 .env"
    on_windows = facts(env_mode=0o777, project=Folder(paths.project, "windows_drive"))
    assert [check.status for check in project.check_settings(on_windows)] == ["ok"]


def test_a_key_under_version_control_is_a_warning(facts) -> None:
    assert "git rm --cached" in project.check_settings(facts(env_tracked=True))[-1].remedy


# Models and memory


def test_a_missing_model_is_a_failure_and_a_broken_neighbour_a_warning(facts) -> None:
    error = ModelError("CHAT_MODEL names 'x.gguf'", hint="plug it in")
    assert project.check_models(facts(catalog=None, models_error=error))[0].status == "failure"
    good = facts().catalog
    damaged = Catalog(good.entries, problems=("cut.gguf is truncated",))
    checks = project.check_models(facts(catalog=damaged))
    assert [check.status for check in checks] == ["ok", "warning"]
    assert "cut.gguf" in checks[1].message


def test_a_base_model_in_a_role_is_a_warning(facts, tmp_path: Path) -> None:
    path = write_scripted_gguf(tmp_path / "base.gguf", Script(is_base=True))
    base = ModelEntry(("local-chat",), read_gguf(path), "chat", "it is the only one")
    checks = project.check_models(facts(catalog=Catalog((base,))))
    assert [check.status for check in checks] == ["ok", "warning"]
    assert "base.gguf has no chat template" in checks[1].message
    elsewhere = replace(base, names=("base",))
    checks = project.check_models(facts(catalog=Catalog((elsewhere,))))
    assert [check.status for check in checks] == ["ok"]


def test_an_architecture_that_the_engine_does_not_know_is_a_failure(facts) -> None:
    checks = project.check_models(facts(unknown_architectures=frozenset({"llama"})))
    assert [check.status for check in checks] == ["ok", "failure"]
    assert "'llama'" in checks[1].message


def test_a_chat_model_that_does_not_fit_is_a_failure(facts) -> None:
    small = Hardware(memory_total_bytes=GIB, memory_available_bytes=20 * MIB)
    (check,) = machine.check_fit(facts(hardware=small))
    assert check.status == "failure"
    assert "local-chat (model.gguf)" in check.message
    assert "smaller model" in check.remedy


def test_explicit_settings_that_need_more_than_is_free_are_a_warning(facts) -> None:
    tight = Hardware(memory_total_bytes=2 * GIB, memory_available_bytes=700 * MIB)
    (check,) = machine.check_fit(facts(hardware=tight, settings=Settings(ctx_size=65536)))
    assert check.status == "warning"
    assert "tried all the same" in check.message
    assert "auto" in check.remedy


def test_a_code_model_that_does_not_fit_is_a_warning(facts) -> None:
    chat = facts().catalog.entries[0]
    code = ModelEntry(("local-code",), chat.file, "code", "it is for code")
    small = Hardware(memory_total_bytes=GIB, memory_available_bytes=20 * MIB)
    both = Catalog((ModelEntry(("local-chat",), chat.file, "chat", "it is"), code))
    checks = machine.check_fit(facts(hardware=small, catalog=both))
    assert [check.status for check in checks] == ["failure", "warning"]


def test_fitting_is_not_judged_without_facts_or_while_it_is_loaded(facts) -> None:
    assert machine.check_fit(facts(hardware=Hardware())) == []
    ours = PortFact("INFERENCE_PORT", 8001, PortHolder(8001, 1, "x", None), ours=True)
    assert machine.check_fit(facts(ports=(ours,))) == []


def test_little_memory_in_wsl_points_at_its_limit(facts) -> None:
    check = machine.check_memory(
        facts(hardware=Hardware(memory_total_bytes=GIB, memory_available_bytes=MIB, is_wsl=True))
    )
    assert check.status == "warning"
    assert ".wslconfig" in check.remedy
    assert machine.check_memory(facts(hardware=Hardware())).status == "warning"


# Paths and disks


def test_models_on_a_windows_drive_cost_seconds_that_are_told(facts, paths: Paths) -> None:
    checks = machine.check_paths(facts(models=Folder(Path("/mnt/c/models"), "windows_drive")))
    assert checks[0].status == "warning"
    assert "/mnt/c/models" in checks[0].message
    assert " s or more for " in checks[0].message
    assert "MODELS_DIR" in checks[0].remedy


def test_a_project_on_a_windows_drive_says_where_its_state_goes(facts, paths: Paths) -> None:
    state = Folder(Path("/home/me/.local/state/local-ai-suite/x"), free_bytes=GIB)
    (check,) = machine.check_paths(
        facts(project=Folder(Path("/mnt/c/suite"), "windows_drive"), state=state)
    )
    assert str(state.path) in check.message
    assert "Linux side" in check.remedy


@pytest.mark.parametrize("kind", ["windows_drive", "network"])
def test_state_where_locks_do_not_hold_is_a_warning(facts, paths: Paths, kind) -> None:
    (check,) = machine.check_paths(facts(state=Folder(paths.state, kind)))
    assert "LAIS_STATE" in check.remedy


def test_state_that_cannot_be_written_is_a_failure(facts, paths: Paths) -> None:
    (check,) = machine.check_paths(facts(state=Folder(paths.state, writable=False)))
    assert check.status == "failure"


def test_a_full_disk_is_a_failure_and_no_room_for_models_a_warning(facts, paths: Paths) -> None:
    (first, second) = machine.check_disk(
        facts(
            state=Folder(paths.state, free_bytes=MIB), models=Folder(paths.project, free_bytes=MIB)
        )
    )
    assert (first.status, second.status) == ("failure", "warning")


# Ports and what runs


@pytest.mark.parametrize(
    ("holder", "says", "advises"),
    [
        (PortHolder(8000, 42, "nginx -g x", None), "pid 42 (nginx -g x)", "kill 42"),
        (PortHolder(8000, 42, "python", "/other/clone"), "/other/clone", "make down"),
        (PortHolder(8000, None, None, None), "another user", "another port"),
    ],
)
def test_a_taken_port_names_its_holder_and_the_setting(facts, holder, says, advises) -> None:
    (check,) = project.check_ports(facts(ports=(PortFact("API_GATEWAY_PORT", 8000, holder),)))
    assert check.status == "failure"
    assert says in check.message
    assert advises in check.remedy
    assert "API_GATEWAY_PORT" in check.remedy


@pytest.mark.parametrize("wsl", [True, False])
def test_a_hint_for_windows_is_given_on_windows_only(facts, monkeypatch, wsl: bool) -> None:
    monkeypatch.setattr(ports, "is_wsl", lambda: wsl)
    told = facts(
        hardware=Hardware(is_wsl=wsl, gpus=(RTX,)),
        ports=(PortFact("API_GATEWAY_PORT", 8000, PortHolder(8000, None, None, None)),),
        docker=DockerFacts("28", "2", gpu=False),
    )
    checks = [*project.check_ports(told), *tools.check_docker(told)]
    text = " ".join(f"{check.message} {check.remedy}" for check in checks)
    for words in ("Windows", "Docker Desktop", "excludedportrange"):
        assert (words in text) is wsl, words
    explained = compose.explain("nvidia-container-cli: initialization error", on_wsl=wsl).hint
    assert ("Windows" in explained) is wsl
    assert "nvidia-smi" in explained
    assert "NVIDIA Container Toolkit" in explained


def test_a_port_that_our_own_stack_holds_is_fine(facts) -> None:
    ours = PortFact("API_GATEWAY_PORT", 8000, PortHolder(8000, 42, "python", "/here"), ours=True)
    assert project.check_ports(facts(ports=(ours,)))[0].status == "ok"


def test_a_service_that_failed_is_told_with_its_reason(facts) -> None:
    run = RunState(
        "native", "p1", 0.0, None,
        (ServiceState("inference", 8001, "failed", reason="it died 5 times"),),
    )  # fmt: skip
    check = only(examine(facts(run=run)), "stack")
    assert check.status == "warning"
    assert "it died 5 times" in check.message
    assert only(examine(facts()), "stack").message == "nothing runs"


def test_predicted_is_held_against_actual(facts) -> None:
    good = PartComparison("CPU", "weights", 1000 * MIB, 1001 * MIB)
    off = PartComparison("CPU", "compute", 100 * MIB, 400 * MIB)
    fine = only(examine(facts(loads={"local-chat": (good,)})), "projection")
    assert fine.status == "ok"
    assert "1000 MiB projected, 1001 MiB taken" in fine.message
    lessons = Record((Lesson("model.gguf", "log", 301 * MIB, 1),), 1)
    missed = facts(loads={"local-chat": (good, off)}, lessons=lessons)
    check = only(examine(missed), "projection")
    assert check.status == "warning"
    assert "compute on CPU +300 MiB" in check.message
    assert "301 MiB wider" in check.remedy
    assert named(preflight(missed), "projection") == []
