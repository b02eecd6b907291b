"""``lais engine build`` with a stand-in for the compiler; the rest is real."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import os
import subprocess
import sys
import tarfile
import threading
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from local_ai_suite.cli.main import main
from local_ai_suite.engines import build
from local_ai_suite.engines.find import built_engine, find_engine, find_engines
from local_ai_suite.errors import EngineError, NetworkError
from local_ai_suite.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from local_ai_suite.paths import Paths

CMAKE = """#!{python}
import pathlib, sys
words = sys.argv[1:]
if "-B" in words:
    tree = pathlib.Path(words[words.index("-B") + 1])
    (tree / "flags").write_text(" ".join(words))
elif {fails}:
    print("[ 50%] Building"); print("fatal error: no such header"); sys.exit(2)
else:
    tree = pathlib.Path(words[words.index("--build") + 1]); (tree / "bin").mkdir(exist_ok=True)
    for part in (10, 60, 100): print(f"[{{part:3}}%] Building CXX object", flush=True)
    print("began with", [path.name for path in tree.glob("*.o")], flush=True)
    (tree / "done.o").touch()
    if {endless}:
        import subprocess
        subprocess.run(["/bin/sleep", "60"], process_group=0)  # as ninja starts its compilers
    server = tree / "bin" / "llama-server"
    server.write_text("#!/bin/sh\\necho 'version: 77 (stand-in)'\\n"); server.chmod(0o755)
"""


def archive(*names: str) -> bytes:
    """A source distribution with these files."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 2
            tar.addfile(info, io.BytesIO(b"x\n"))
    return raw.getvalue()


GOOD = archive("xllamacpp-1/thirdparty/llama.cpp/CMakeLists.txt", "xllamacpp-1/setup.py")


@pytest.fixture
def served() -> Iterator[Callable[[bytes], str]]:
    """Serve bytes; returns the address. What was asked for is in ``asked``."""
    content: dict[str, bytes] = {}

    class Files(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = content["body"]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def serve(body: bytes) -> str:
        content["body"] = body
        return f"http://127.0.0.1:{server.server_port}/sources.tar.gz"

    yield serve
    server.shutdown()
    server.server_close()


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A PATH whose cmake is the stand-in."""
    folder = tmp_path / "tools"
    folder.mkdir()

    def make(
        *, fails: bool = False, endless: bool = False, without: str = "", ninja: bool = False
    ) -> None:
        text = CMAKE.format(python=sys.executable, fails=fails, endless=endless)
        (folder / "cmake").write_text(text)
        for name in ("make", "cc", "c++", *(["ninja"] if ninja else [])):
            (folder / name).write_text("#!/bin/sh\n")
        for tool in folder.iterdir():
            tool.chmod(0o755)
        (folder / without).unlink() if without else None
        monkeypatch.setenv("PATH", str(folder))

    return make


def pin_of(url: str, body: bytes) -> build.Pin:
    return build.Pin("1", url, hashlib.sha256(body).hexdigest(), len(body))


def test_it_downloads_checks_compiles_and_the_engine_is_preferred(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools()
    told: list[tuple[str, float | None]] = []
    pin = pin_of(served(GOOD), GOOD)
    built = build.build(
        paths, cuda=False, pin=pin, progress=lambda what, part: told.append((what, part))
    )
    assert built.version == "77 (stand-in)"
    assert [part for what, part in told if what == "compiling"] == [0.1, 0.6, 1.0]
    assert ("downloading the sources", 1.0) in told
    facts = build.read_built(paths)
    assert facts is not None
    assert facts["source_sha256"] == pin.sha256
    found = find_engines(load_settings(paths, environ={}), paths, environ={"PATH": ""})
    assert [item.source for item in found] == ["built", "embedded"]
    assert found[0].command == (str(built_engine(paths)),)
    assert not (paths.cache / "engine" / "build" / "tree").exists(), "half a gigabyte is left"


def test_a_second_build_takes_the_archive_that_is_there_and_replaces_the_binary(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools()
    pin = pin_of(served(GOOD), GOOD)
    build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)
    served(b"gone")
    build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)
    assert built_engine(paths).is_file()
    assert sorted(path.name for path in built_engine(paths).parent.parent.iterdir()) == [
        "build", "native",
    ]  # fmt: skip


def test_other_bytes_than_the_pinned_ones_are_refused_and_nothing_is_kept(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools()
    evil = archive("xllamacpp-1/thirdparty/llama.cpp/CMakeLists.txt")
    pin = pin_of(served(evil), GOOD)
    with pytest.raises(EngineError, match="is not what"):
        build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)
    assert not list((paths.cache / "engine" / "build").glob("*.tar.gz*"))
    assert not built_engine(paths).exists()


def test_an_archive_that_leads_out_of_its_folder_is_refused(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools()
    evil = archive("x/thirdparty/llama.cpp/../../../../evil")
    with pytest.raises(EngineError):
        build.build(paths, cuda=False, pin=pin_of(served(evil), evil), progress=lambda *_: None)
    assert not (paths.cache.parent / "evil").exists()


def test_a_failed_compile_says_the_compilers_own_error_and_keeps_the_old_engine(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools()
    pin = pin_of(served(GOOD), GOOD)
    build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)
    tools(fails=True)
    with pytest.raises(EngineError, match="no such header") as caught:
        build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)
    assert "engine-build.log" in caught.value.hint
    assert built_engine(paths).is_file()


def test_a_missing_tool_is_named_with_the_package_to_install(
    paths: Paths, tools: Callable[..., None]
) -> None:
    tools(without="cmake")
    with pytest.raises(EngineError, match="cmake must be installed") as caught:
        build.build(paths, cuda=False, pin=pin_of("http://x", b""), progress=lambda *_: None)
    assert "apt-get install cmake" in caught.value.hint
    assert "pipx install cmake" in caught.value.hint
    tools(without="c++")
    with pytest.raises(EngineError, match=r"a C\+\+ compiler must be installed") as caught:
        build.build(paths, cuda=False, pin=pin_of("http://x", b""), progress=lambda *_: None)
    assert "apt-get install g++" in caught.value.hint


def test_no_network_is_a_network_error(paths: Paths, tools: Callable[..., None]) -> None:
    tools()
    pin = build.Pin("1", "http://127.0.0.1:9/x.tar.gz", "0" * 64, None)
    with pytest.raises(NetworkError):
        build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)


def test_the_lock_pins_the_version_that_the_embedded_engine_has() -> None:
    from importlib.metadata import version
    from pathlib import Path as File

    pin = build.read_pin(File(__file__).parents[2] / "uv.lock")
    assert pin.version == version("xllamacpp")
    assert len(pin.sha256) == 64


def test_cuda_is_wanted_only_with_both_nvcc_and_a_gpu(tmp_path: Path) -> None:
    nvcc = tmp_path / "nvcc"
    nvcc.write_text("")
    nvcc.chmod(0o755)
    assert build.wants_cuda(str(tmp_path), ["a gpu"])
    assert not build.wants_cuda(str(tmp_path), [])
    assert not build.wants_cuda("", ["a gpu"])
    assert "-DGGML_CUDA=ON" in build.cmake_flags(cuda=True)
    assert "-DGGML_CUDA=ON" not in build.cmake_flags(cuda=False)


def test_what_was_built_is_written_down_as_json(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools()
    build.build(paths, cuda=False, pin=pin_of(served(GOOD), GOOD), progress=lambda *_: None)
    text = (built_engine(paths).parent / "build.json").read_text()
    assert json.loads(text)["cuda"] is False
    assert "-DGGML_NATIVE=ON" in json.loads(text)["flags"]


def test_ctrl_c_ends_the_compilers_too(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools(endless=True)

    def interrupt(what: str, part: float | None) -> None:
        if what == "compiling" and part == 1.0:
            raise KeyboardInterrupt

    before = {child.pid for child in psutil.Process().children(recursive=True)}
    with pytest.raises(KeyboardInterrupt):
        build.build(paths, cuda=False, pin=pin_of(served(GOOD), GOOD), progress=interrupt)
    left = {child.pid for child in psutil.Process().children(recursive=True)} - before
    assert not left
    assert not built_engine(paths).exists()


def interrupted(paths: Paths, pin: build.Pin) -> None:
    """A build that ends in the middle, as with Ctrl-C or a power cut."""

    def interrupt(what: str, part: float | None) -> None:
        if what == "compiling" and part == 1.0:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build.build(paths, cuda=False, pin=pin, progress=interrupt)
    (paths.cache / "engine" / "build" / "tree" / "done.o").touch()


def build_log(paths: Paths) -> str:
    return (paths.state / "logs" / "engine-build.log").read_text()


def test_an_interrupted_build_goes_on_where_it_stopped(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools(ninja=True)
    pin = pin_of(served(GOOD), GOOD)
    interrupted(paths, pin)
    served(b"gone")
    told: list[str] = []
    build.build(paths, cuda=False, pin=pin, progress=lambda what, _: told.append(what))
    assert set(told) == {"configuring", "compiling"}, "neither downloaded nor unpacked again"
    assert "began with ['done.o']" in build_log(paths)
    assert built_engine(paths).is_file()


def test_other_flags_other_sources_and_make_begin_anew(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools(ninja=True)
    pin = pin_of(served(GOOD), GOOD)
    interrupted(paths, pin)
    build.build(paths, cuda=False, pin=pin, progress=lambda *_: None, flags=("-DOTHER=ON",))
    assert "began with []" in build_log(paths)
    interrupted(paths, pin)
    newer = archive("x-2/thirdparty/llama.cpp/CMakeLists.txt", "x-2/thirdparty/llama.cpp/new.c")
    build.build(paths, cuda=False, pin=pin_of(served(newer), newer), progress=lambda *_: None)
    assert "began with []" in build_log(paths)


def test_make_cannot_tell_what_was_cut_off_and_begins_anew(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools()
    pin = pin_of(served(GOOD), GOOD)
    interrupted(paths, pin)
    build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)
    assert "began with []" in build_log(paths)


def test_a_build_that_failed_begins_anew(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools(ninja=True, fails=True)
    pin = pin_of(served(GOOD), GOOD)
    with pytest.raises(EngineError):
        build.build(paths, cuda=False, pin=pin, progress=lambda *_: None)
    assert not (paths.cache / "engine" / "build" / "tree").exists()


def lock(paths: Paths, url: str, body: bytes) -> None:
    (paths.project / "uv.lock").write_text(
        f'[[package]]\nname = "xllamacpp"\nversion = "1"\nsdist = {{ url = "{url}", '
        f'hash = "sha256:{hashlib.sha256(body).hexdigest()}", size = {len(body)} }}\n'
    )


def test_an_engine_of_older_sources_than_are_pinned_now_is_told_as_such(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    tools()
    monkeypatch.setenv("LAIS_PROJECT", str(paths.project))
    lock(paths, served(GOOD), GOOD)
    build.build(paths, cuda=False, progress=lambda *_: None)
    assert not build.is_outdated(paths)
    lock(paths, "http://x", b"newer")
    with pytest.raises(SystemExit):
        main(["engine", "list"])
    told = capsys.readouterr()
    assert told.out.startswith("* built")
    assert "`lais engine build` makes it anew" in told.err


def test_a_kill_of_the_command_leaves_no_compiler_behind(
    paths: Paths, served: Callable[[bytes], str], tools: Callable[..., None]
) -> None:
    tools(endless=True)
    lock(paths, served(GOOD), GOOD)
    command = [sys.executable, "-m", "local_ai_suite", "engine", "build", "--no-cuda"]
    with subprocess.Popen(
        command, env={**os.environ, "LAIS_PROJECT": str(paths.project)},
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if "compiling: 100 %" in line:
                break
        family = psutil.Process(process.pid).children(recursive=True)
        assert family
        process.terminate()
        assert process.wait(30) == 130
    _, alive = psutil.wait_procs(family, timeout=10)
    assert not [child for child in alive if child.status() != psutil.STATUS_ZOMBIE]


def test_an_engine_of_another_machine_is_passed_over_with_the_remedy(
    paths: Paths, caplog: pytest.LogCaptureFixture
) -> None:
    binary = built_engine(paths)
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\nkill -ILL $$\n")
    binary.chmod(0o755)
    settings = load_settings(paths, environ={})
    found = find_engines(settings, paths, environ={"PATH": ""})
    assert [item.source for item in found] == ["embedded", "built"]
    assert "lais engine build" in (found[1].problem or "")
    assert find_engine(settings, paths, environ={"PATH": ""}).source == "embedded"
    assert "does not run on this machine" in caplog.text
