"""The table of services, what is held against it, and what one more service costs."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import textwrap
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_ai_suite.demo import write_scripted_gguf
from local_ai_suite.errors import NotBuiltYet, StackError, UsageError
from local_ai_suite.paths import Paths
from local_ai_suite.settings import KEYS, Settings
from local_ai_suite.stack import compose, phases, runtime, services
from local_ai_suite.stack.phases import PHASES, Service, services_of
from stack_project import CHECKOUT, Project, close, new_project

DOCKER = CHECKOUT / "docker"
BUILT = [phase for phase in PHASES if PHASES[phase]]
ALL = [service for rows in PHASES.values() for service in rows]


def composed(phase: str) -> dict[str, Any]:
    return dict(yaml.safe_load((DOCKER / f"compose.{phase}.yml").read_text())["services"])


@pytest.mark.parametrize("phase", BUILT)
def test_the_compose_file_of_a_phase_has_its_services_their_ports_and_what_they_need(
    phase: str,
) -> None:
    found = composed(phase)
    assert list(found) == [service.name for service in PHASES[phase]]
    for service in PHASES[phase]:
        stated = found[service.name]
        assert compose.image(service) in stated["image"]
        assert set(stated.get("depends_on", {})) == set(service.needs)
        inside = f":{service.container_port}"
        outside = f"${{{service.port_setting}:-{service.container_port}}}"
        assert [port.endswith(outside + inside) for port in stated["ports"]] == [True]
        for needed in service.needs:
            port = phases.service_named(needed).container_port
            variable = f"{phases.service_named(needed).variable}_API_BASE"
            assert stated["environment"][variable] == f"http://{needed}:{port}/v1"


def test_the_ports_on_ipv6_are_those_of_the_table() -> None:
    overlay = yaml.safe_load((DOCKER / "compose.ipv6.yml").read_text())["services"]
    assert {name: stated["ports"] for name, stated in overlay.items()} == {
        service.name: [
            f"[::1]:${{{service.port_setting}:-{service.container_port}}}:{service.container_port}"
        ]
        for service in ALL
    }


def test_each_image_serves_the_module_and_asks_the_path_of_the_table() -> None:
    text = (DOCKER / "Dockerfile").read_text()
    for service in ALL:
        stages = re.split(r"^FROM .* AS ", text, flags=re.MULTILINE)[1:]
        named = [stage for stage in stages if stage.startswith(service.image or service.name)]
        assert named
        for stage in named:
            assert f'"-m", "{service.module}"]' in stage
            probe = f'"{service.container_port}", "{service.alive_path}"]'
            assert f'"local_ai_suite.stack.probe", {probe}' in stage
            assert f"EXPOSE {service.container_port}\n" in stage


@pytest.mark.parametrize("service", ALL, ids=lambda service: service.name)
def test_each_row_names_a_setting_a_module_and_a_file_that_are_there(service: Service) -> None:
    assert service.port_setting in KEYS
    module = CHECKOUT / "src" / Path(*service.module.split("."))
    assert module.with_suffix(".py").is_file()
    config = service.config_file(Paths(CHECKOUT, CHECKOUT / ".state"))
    assert config is None or config.is_file()
    assert service.port(Settings()) == service.container_port


def test_the_gateway_s_configuration_is_the_one_that_the_gateway_reads(paths: Paths) -> None:
    assert phases.API_GATEWAY.config_file(paths) == paths.gateway_config


def test_no_name_and_no_port_stands_twice() -> None:
    assert len({service.name for service in ALL}) == len(ALL)
    assert len({service.container_port for service in ALL}) == len(ALL)


def test_no_module_of_the_stack_names_a_service_s_port_or_path_by_itself() -> None:
    rooms = [CHECKOUT / "src" / "local_ai_suite" / room for room in ("stack", "doctor")]
    words = {f'"{service.name}"' for service in ALL} | {
        str(service.container_port) for service in ALL
    }
    words |= {f'"{path}"' for service in ALL for path in (service.ready_path, service.alive_path)}
    found = [
        f"{file.name}:{number}: {line.strip()}"
        for room in rooms
        for file in sorted(room.glob("*.py"))
        if file.name != "phases.py"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if any(word in line.partition("#")[0] for word in words)
    ]
    assert not found


def test_a_phase_is_what_it_adds_to_those_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    dummy = Service("dummy", "a.module", 8009, needs=("api-gateway",))
    monkeypatch.setitem(PHASES, "p2", (dummy,))
    assert services_of("p1") == PHASES["p1"]
    assert services_of("p2") == (*PHASES["p1"], dummy)
    spec = services.native_services("p2", Settings(api_gateway_port=18000), "sk-key")[-1]
    assert spec.port == 8009
    assert spec.environment["API_GATEWAY_API_BASE"] == "http://127.0.0.1:18000/v1"
    assert spec.environment["API_GATEWAY_API_KEY"] == "sk-key"
    assert compose.images("p2", gpu=True)[-1] == f"local-ai-suite/dummy:{compose.VERSION}"


def test_a_phase_to_come_and_one_that_nobody_knows_are_told_apart() -> None:
    with pytest.raises(NotBuiltYet, match="documents"):
        services_of("p2")
    with pytest.raises(UsageError, match="no phase 'p9'") as caught:
        services_of("p9")
    assert "p1, p2, p3" in caught.value.hint


def test_a_service_without_its_configuration_is_not_started(paths: Paths) -> None:
    with pytest.raises(StackError, match=r"api-gateway needs .*config\.p1\.yaml"):
        runtime.up("p1", Settings(runtime="native"), paths, lambda _: None)
    assert not paths.run_file.exists()


ROW = 'Service("dummy", "local_ai_suite.dummy", {port}, needs=("api-gateway",)),'
MODULE = '''
"""Answers with what it was told of the gateway."""
import http.server, os, sys
class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = os.environ["API_GATEWAY_API_BASE"].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", {port}), Answer).serve_forever()
'''


@pytest.fixture
def with_a_third_service(tmp_path: Path, free_port: int) -> Any:
    """The suite's sources with one more row and one more module, and a project that uses them."""
    source = tmp_path / "src"
    shutil.copytree(
        CHECKOUT / "src" / "local_ai_suite", source / "local_ai_suite",
        ignore=shutil.ignore_patterns("__pycache__"),
    )  # fmt: skip
    table = source / "local_ai_suite" / "stack" / "phases.py"
    before = '    "p2": (),\n'
    assert before in table.read_text()
    row = f'    "p2": ({ROW.format(port=free_port)}),\n'
    table.write_text(table.read_text().replace(before, row))
    module = source / "local_ai_suite" / "dummy.py"
    module.write_text(textwrap.dedent(MODULE).replace("{port}", str(free_port)))
    project = new_project(tmp_path / "project")
    write_scripted_gguf(project.folder / "models" / "scripted.gguf")
    project.environment["PYTHONPATH"] = str(source)
    yield project
    close(project)


def test_a_third_service_costs_one_row_and_its_module(
    with_a_third_service: Project, free_port: int
) -> None:
    project = with_a_third_service
    up = project.lais("up", "p2", "--json")
    assert up.returncode == 0, up.stderr + up.stdout
    told = json.loads(project.lais("status", "--json").stdout)["data"]
    assert [service["name"] for service in told["services"]] == [
        "inference",
        "api-gateway",
        "dummy",
    ]
    assert {service["phase"] for service in told["services"]} == {"ready"}
    assert told["phase"] == "p2"
    connection = http.client.HTTPConnection("127.0.0.1", free_port, timeout=10)
    connection.request("GET", "/")
    answer = connection.getresponse().read().decode()
    assert answer == f"http://127.0.0.1:{project.gateway}/v1"
    assert "dummy" in project.lais("status").stdout
    down = project.lais("down")
    assert down.returncode == 0
    assert not project.processes()
    assert project.lais("status").returncode == 1
