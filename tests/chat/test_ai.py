"""``lais ai`` as a person and a pipe use it, against the real engine."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from chat_servers import http, sse

from local_ai_suite.cli.ai import verb_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from chat_servers import Done, RawServer

    from local_ai_suite.paths import Paths

    Ai = Callable[..., Done]
    Raw = Callable[..., RawServer]

PROJECT = Path(__file__).parents[2]
JOKE = "Why do programmers like *pipes*? They **flow**.\n"
MODELS = b'{"data": [{"id": "local-chat"}]}'


def test_the_answer_is_on_stdout_and_everything_else_on_stderr(ai: Ai, port: int) -> None:
    done = ai("tell", "me", "a", "shell", "joke", port=port)
    assert done.code == 0
    assert done.out == JOKE  # raw Markdown: stdout is no terminal
    assert "local-chat (" in done.err
    assert "tokens/s" in done.err
    assert "of 2,048 tokens" in done.err


def test_quiet_says_nothing_but_the_answer(ai: Ai, port: int) -> None:
    done = ai("-q", "shell joke", port=port)
    assert (done.out, done.err) == (JOKE, "")


def test_stdin_joins_the_question_and_is_one_alone(ai: Ai, port: int) -> None:
    assert ai(port=port, stdin="안녕".encode()).out == "안녕하세요! 무엇을 도와드릴까요?\n"
    assert ai("what is this?", port=port, stdin=b"a shell joke").out == JOKE


def test_a_file_goes_along_and_chooses_the_code_model(ai: Ai, port: int, tmp_path: Path) -> None:
    file = tmp_path / "flow.py"
    file.write_text("# a shell joke\n", encoding="utf-8")
    done = ai("-f", str(file), "what is this?", port=port)
    assert done.out == JOKE
    assert "a source file" in done.err
    assert "(--chat)" in ai("--chat", "-f", str(file), "what?", port=port).err


def test_no_stream_and_json_carry_the_same_answer(ai: Ai, port: int) -> None:
    assert ai("--no-stream", "shell joke", port=port).out == JOKE
    done = ai("--json", "shell joke", port=port)
    said = json.loads(done.out)
    assert said["ok"]
    assert said["data"]["answer"] == JOKE.strip()
    assert said["data"]["context_tokens"] == 2048
    assert said["data"]["tokens_per_second"] > 0
    assert done.err == ""


def test_a_schema_gives_json_and_nothing_else(ai: Ai, port: int, tmp_path: Path) -> None:
    schema = tmp_path / "schema.json"
    schema.write_text('{"type":"object","properties":{"answer":{"type":"integer"}}}')
    done = ai("--json-schema", str(schema), "as JSON please", port=port)
    assert json.loads(done.out) == {"answer": 42}
    both = ai("--json", "--json-schema", str(schema), "as JSON please", port=port)
    assert json.loads(both.out)["data"]["object"] == {"answer": 42}


def test_a_model_that_writes_no_json_is_a_clear_error(
    ai: Ai, raw_server: Raw, paths: Paths
) -> None:
    nonsense = b'{"data":[{"id":"m"}],"choices":[{"message":{"content":"@@ no"}}]}'
    server = raw_server(http(nonsense))
    schema = paths.project / "schema.json"
    schema.write_text("{}")
    done = ai("--json-schema", str(schema), "x", port=int(server.url.split(":")[2][:-3]))
    assert done.code == 7
    assert done.out == ""
    assert "did not answer in JSON" in done.err


def test_an_answer_without_a_word_is_a_clear_error(ai: Ai, raw_server: Raw) -> None:
    empty = b'{"data":[{"id":"m"}],"choices":[{"message":{"content":""},"finish_reason":"stop"}]}'
    server = raw_server(http(empty))
    done = ai("--no-stream", "x", port=int(server.url.split(":")[2][:-3]))
    assert done.code == 7
    assert "without a word" in done.err


def test_continue_goes_on_and_the_log_finds_it(ai: Ai, port: int) -> None:
    ai("shell joke", port=port)
    first = json.loads(ai("--json", "-c", "and now?", port=port).out)["data"]
    assert first["conversation"] == 1
    assert first["prompt_tokens"] > 30  # the earlier turn went along
    listed = json.loads(ai("log", "--json", port=port).out)["data"]["conversations"]
    assert [(entry["id"], entry["questions"]) for entry in listed] == [(1, 2)]
    assert "shell joke" in ai("log", "1", port=port).out
    ai("안녕", port=port)
    found = ai("log", "--search", "PROGRAMMERS", port=port).out
    assert "shell joke" in found
    assert "안녕" not in found
    assert "nothing holds" in ai("log", "--search", "100%", port=port).out
    assert "forgotten" in ai("log", "--delete", "1", port=port).out
    assert "shell joke" not in ai("log", port=port).out


def test_history_off_keeps_nothing(
    ai: Ai, port: int, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_HISTORY", "off")
    assert ai("shell joke", port=port).out == JOKE
    assert not (paths.state / "ai").exists()
    done = ai("-c", "more", port=port)
    assert done.code == 2
    assert "AI_HISTORY" in done.err


def test_a_broken_database_costs_the_history_and_not_the_answer(
    ai: Ai, port: int, paths: Paths
) -> None:
    file = paths.state / "ai" / "history.sqlite3"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"this is no database" * 100)
    done = ai("shell joke", port=port)
    assert (done.code, done.out) == (0, JOKE)
    assert "cannot be used" in done.err
    assert str(file) in done.err
    assert ai("log", port=port).code == 1
    assert file.read_bytes().startswith(b"this is no database")


def test_a_prompt_over_the_context_is_refused_and_cut_when_asked(
    ai: Ai, port: int, tmp_path: Path
) -> None:
    long, short = tmp_path / "long.txt", tmp_path / "short.txt"
    long.write_text("a line of many words\n" * 2000)
    short.write_text("a shell joke")
    arguments = ["-f", str(long), "-f", str(short), "what is this?"]
    done = ai(*arguments, port=port)
    assert done.code == 7
    assert "2,048" in done.err
    assert "--cut" in done.err
    assert str(long) in done.err
    error = json.loads(ai("--json", *arguments, port=port).out)["error"]
    assert error["code"] == "context_length_exceeded"
    assert error["details"]["prompt_tokens"] > error["details"]["context_tokens"] == 2048
    cut = ai("--cut", *arguments, port=port)
    assert (cut.code, cut.out) == (0, JOKE)  # the short file went along whole
    assert "long.txt was cut to" in cut.err
    assert "short.txt was" not in cut.err


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"\x7fELF\0\0\1", "not text"), (b"x" * (9 << 20), "larger than 8 MiB"), (None, "No such")],
)
def test_a_file_that_cannot_go_along_says_why(
    ai: Ai, port: int, tmp_path: Path, content: bytes | None, words: str
) -> None:
    file = tmp_path / "file"
    if content is not None:
        file.write_bytes(content)
    done = ai("-f", str(file), "what?", port=port)
    assert done.code == 2
    assert words in done.err
    assert str(file) in done.err


def test_a_folder_a_device_and_an_empty_question_say_why(ai: Ai, port: int, tmp_path: Path) -> None:
    assert "is a folder" in ai("-f", str(tmp_path), "x", port=port).err
    assert "neither a file nor a pipe" in ai("-f", "/dev/zero", "x", port=port).err
    assert "no question" in ai(port=port).err
    assert "no model called gpt-9" in ai("-m", "gpt-9", "x", port=port).err
    assert "needs a terminal" in ai("-i", port=port).err
    bad = tmp_path / "bad.json"
    bad.write_text("[1")
    assert "is not JSON" in ai("--json-schema", str(bad), "x", port=port).err


def test_korean_windows_text_is_read(ai: Ai, port: int, tmp_path: Path) -> None:
    file = tmp_path / "old.txt"
    file.write_bytes("안녕".encode("cp949"))
    done = ai("-f", str(file), "?", port=port)
    assert done.out == "안녕하세요! 무엇을 도와드릴까요?\n"
    assert "CP949" in done.err


def test_no_server_says_how_to_start_one(ai: Ai, closed_port: int) -> None:
    done = ai("hello", port=closed_port)
    assert done.code == 7
    assert "make up-p1" in done.err
    as_json = json.loads(ai("--json", "hello", port=closed_port).out)
    assert as_json["error"]["code"] == "no_server"


def test_a_stream_that_breaks_keeps_what_came_on_stdout(ai: Ai, raw_server: Raw) -> None:
    # The same bytes answer /v1/models and the chat: a list first, then a stream that breaks.
    server = raw_server(http(MODELS))
    number = int(server.url.split(":")[2][:-3])
    server.later = sse('{"choices":[{"delta":{"content":"half an"}}]}')
    done = ai("hello", port=number)
    assert done.code == 7
    assert done.out == "half an\n"
    assert "closed the connection" in done.err


def listed(*abilities: str) -> bytes:
    meta = {"kind": "chat", "capabilities": abilities}
    return http(json.dumps({"data": [{"id": "local-chat", "meta": meta}]}).encode())


@pytest.mark.parametrize(
    ("abilities", "arguments", "most"),
    [
        (["chat", "completion"], [], 4_096),
        (["chat", "completion", "thinking"], [], 12_288),
        (["chat", "thinking"], ["--max-tokens", "7"], 7),
        (["completion"], [], 4_096),
    ],
)
def test_an_answer_has_a_longest_length_also_where_nobody_set_one(
    ai: Ai, raw_server: Raw, abilities: list[str], arguments: list[str], most: int
) -> None:
    server = raw_server(listed(*abilities))
    server.later = sse(
        '{"choices":[{"delta":{"content":"so"},"finish_reason":"length"}]}',
        f'{{"choices":[],"usage":{{"prompt_tokens":3,"completion_tokens":{most}}}}}',
    )
    done = ai(*arguments, "hello", port=int(server.url.split(":")[2][:-3]))
    assert json.loads(server.requests[-1].partition(b"\r\n\r\n")[2])["max_tokens"] == most
    assert f"cut at {most:,} tokens (--max-tokens allows more)" in done.err
    assert ("is a base model" in done.err) is ("chat" not in abilities)


def test_an_answer_that_filled_the_context_is_not_blamed_on_the_limit(ai: Ai, port: int) -> None:
    done = ai("go on forever", port=port)
    assert "cut: the context is full" in done.err


@pytest.mark.parametrize(
    ("words", "verb"),
    [
        (["log"], "log"),
        (["log", "--search", "x"], "log"),
        (["log", "3"], "log"),
        (["log", "files", "are", "large"], None),
        (["commit"], "commit"),
        (["commit", "to", "a", "plan"], None),
        (["review", "main"], "review"),
        (["review", "my", "essay"], None),
        (["issues"], "issues"),
        (["issues", "12"], "issues"),
        (["issues", "of", "life"], None),
        (["plan", "8"], "plan"),
        (["plan", "my", "holiday"], None),
        (["hello"], None),
        ([], None),
    ],
)
def test_a_first_word_is_a_command_only_when_the_rest_fits(
    words: list[str], verb: str | None
) -> None:
    assert verb_of(words) == verb


def environment(paths: Paths, port: int) -> dict[str, str]:
    return {**os.environ, "LAIS_PROJECT": str(paths.project), "API_GATEWAY_PORT": str(port)}


def test_the_script_works_from_another_python(paths: Paths, port: int) -> None:
    # -S -E: a Python that knows nothing of the project's packages.
    python = Path(sys.base_prefix) / "bin" / "python3"
    done = subprocess.run(
        [python, "-S", "-E", PROJECT / "scripts" / "ai.py", "shell joke"],
        env=environment(paths, port), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, JOKE), done.stderr


def test_ctrl_c_stops_the_answer_keeps_it_and_frees_the_slot(paths: Paths, port: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "local_ai_suite", "ai", "forever", "--max-tokens", "1900"],
        env=environment(paths, port), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as asked:  # fmt: skip
        assert asked.stdout is not None
        assert asked.stdout.read(9) == "tick tock"
        asked.send_signal(signal.SIGINT)
        rest, err = asked.communicate(timeout=30)
    assert asked.returncode == 130
    assert "stopped" in err
    assert rest.endswith("\n")
    assert "Traceback" not in err
    log = subprocess.run(
        [sys.executable, "-m", "local_ai_suite", "ai", "log", "1"],
        env=environment(paths, port), capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "tick tock" in log.stdout


def test_starting_costs_a_few_bare_pythons(paths: Paths, closed_port: int) -> None:
    def best_of(command: list[str]) -> float:
        """CPU seconds: other work on the machine counts little, unlike on the clock."""
        times = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                command, env=environment(paths, closed_port), stdin=subprocess.DEVNULL,
                capture_output=True, timeout=60, check=False,
            )  # fmt: skip
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(times)

    bare = best_of([sys.executable, "-c", "pass"])
    # Up to the refused connection: all that comes before the network.
    ask = best_of([sys.executable, "-m", "local_ai_suite", "ai", "hello"])
    print(f"python -c pass {bare * 1000:.0f} ms; ai until the network {ask * 1000:.0f} ms of CPU")
    assert ask < 40 * bare


def test_asking_imports_nothing_slow(paths: Paths, closed_port: int) -> None:
    """The start-up budget, held without a clock."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "local_ai_suite", "ai", "hello"],
        env=environment(paths, closed_port), stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=60, check=False,
    )  # fmt: skip
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    slow = {"httpx", "rich", "prompt_toolkit", "asyncio", "litellm", "openai", "yaml", "pygments"}
    assert imported & slow == set()
    assert "http" in imported
