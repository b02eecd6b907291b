"""The logs of all services, followed across rotation."""

from __future__ import annotations

from pathlib import Path

from local_ai_suite.stack import logs, native


def test_the_last_lines_come_with_their_service_and_commands_keep_out(tmp_path: Path) -> None:
    (tmp_path / "inference.log").write_text("a\nb\nc\n")
    (tmp_path / "supervisor.log").write_text("s\n")
    (tmp_path / "up-123.log").write_text("not a service\n")
    assert list(logs.last_lines(tmp_path, 2)) == [
        ("supervisor", "s"), ("inference", "b"), ("inference", "c"),
    ]  # fmt: skip


def test_following_sees_new_lines_new_files_and_rotation(tmp_path: Path) -> None:
    inference = tmp_path / "inference.log"
    inference.write_text("old\n")

    def steps():
        with inference.open("a") as file:
            file.write("one\nhal")
        yield
        with inference.open("a") as file:
            file.write("f\n")
        (tmp_path / "api-gateway.log").write_text("born\n")
        yield
        with inference.open("a") as file:
            file.write("last words")
        native._keep_old_log(inference)
        inference.write_text("after rotation\n")
        yield

    change = steps()
    read: logs.Read = {}
    assert list(logs.last_lines(tmp_path, 1, read)) == [("inference", "old")]
    followed = logs.follow(tmp_path, read, sleep=lambda _s: next(change))
    assert [next(followed) for _ in range(5)] == [
        ("inference", "one"),
        ("api-gateway", "born"),
        ("inference", "half"),
        ("inference", "last words"),
        ("inference", "after rotation"),
    ]
    assert (tmp_path / "inference.log.1").read_text().startswith("old")


def test_no_line_is_lost_or_doubled_between_the_last_lines_and_following(tmp_path: Path) -> None:
    inference = tmp_path / "inference.log"
    inference.write_text("one\ntwo\nhal")
    read: logs.Read = {}
    assert list(logs.last_lines(tmp_path, 1, read)) == [("inference", "two")]
    with inference.open("a") as file:  # before anybody follows
        file.write("f\nthree\n")
    (tmp_path / "api-gateway.log").write_text("born\n")
    followed = logs.follow(tmp_path, read, sleep=lambda _s: None)
    assert [next(followed) for _ in range(3)] == [
        ("api-gateway", "born"), ("inference", "half"), ("inference", "three"),
    ]  # fmt: skip
