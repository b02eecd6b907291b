"""Downloads against a hub with faults."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import httpx
import pytest
from fake_hub import (
    Cut,
    Damaged,
    FakeHub,
    Good,
    NoRanges,
    Page,
    Status,
    TooMuch,
    Trickle,
    WrongRange,
    model_bytes,
    shard_bytes,
)
from hypothesis import given
from hypothesis import strategies as st

from local_ai_suite.errors import ModelError, NetworkError, SettingsError, UsageError
from local_ai_suite.gguf import read_gguf
from local_ai_suite.models import download
from local_ai_suite.models import hub as hub_module
from local_ai_suite.models.download import Limits
from local_ai_suite.models.hub import Hub
from local_ai_suite.models.pull import Pulled, pull
from local_ai_suite.models.reference import Reference, parse

REPO = "someone/Test-GGUF"
FILE = "Test-Q4_K_M.gguf"
BODY = model_bytes()
TOKEN = "hf_very_secret_token"


class Notes:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.bytes = 0

    def start(self, name: str, total: int | None, done: int) -> None:
        self.bytes = 0

    def advance(self, count: int) -> None:
        self.bytes += count

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def hub():
    fake = FakeHub()
    fake.add(REPO, FILE, BODY)
    fake.add(REPO, "README.md", b"# text")
    fake.add(REPO, "Test-Q8_0.gguf", model_bytes(quant="q8"))
    with fake.running():
        yield fake


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def waits() -> list[float]:
    return []


def get(
    fake: FakeHub,
    folder: Path,
    waits: list[float],
    *,
    name: str = f"{REPO}:{FILE}",
    token: str | None = None,
    notes: Notes | None = None,
    **limits: object,
) -> Pulled:
    free = limits.pop("free_bytes", None)
    with Hub(fake.endpoint, token) as client:
        return pull(
            client,
            parse(name),
            folder,
            notes or Notes(),
            limits=Limits(sleep=waits.append, **limits),
            free_bytes=free,
        )


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What works


def test_a_file_comes_whole_and_under_its_name(hub: FakeHub, folder: Path, waits) -> None:
    notes = Notes()
    pulled = get(hub, folder, waits, notes=notes)
    assert (folder / FILE).read_bytes() == BODY
    assert names(folder) == [FILE]
    assert pulled.paths == (folder / FILE,)
    assert pulled.fresh
    assert notes.bytes == len(BODY)
    assert waits == []


def test_the_second_time_it_is_checked_and_not_fetched(hub: FakeHub, folder: Path, waits) -> None:
    get(hub, folder, waits)
    hub.seen.clear()
    assert not get(hub, folder, waits).fresh
    assert hub.byte_requests() == []


def test_a_short_name_means_a_file_of_the_catalogue(hub: FakeHub, folder: Path, waits) -> None:
    entry = parse("chat")
    hub.add(entry.repo, entry.file, BODY)
    get(hub, folder, waits, name="chat")
    assert names(folder) == [entry.file]


@pytest.mark.parametrize(
    "name", [REPO, f"{REPO}:Q4_K_M", f"{REPO}:q4_k_m", f"{REPO}:test-q4_k_m.gguf"]
)
def test_a_repository_or_a_quantization_is_enough(hub: FakeHub, folder: Path, waits, name) -> None:
    get(hub, folder, waits, name=name)
    assert names(folder) == [FILE]


def test_the_address_of_a_page_is_enough(hub: FakeHub, folder: Path, waits) -> None:
    get(hub, folder, waits, name=f"https://huggingface.co/{REPO}/blob/main/{FILE}?download=true")
    assert names(folder) == [FILE]


def test_a_model_in_several_files_comes_with_all_of_them(hub: FakeHub, folder: Path, waits) -> None:
    shards = [f"Q6_K/Big-Q6_K-{n:05d}-of-00003.gguf" for n in (1, 2, 3)]
    for number, name in enumerate(shards, start=1):
        hub.add("someone/Big-GGUF", name, shard_bytes(number, 3))
    pulled = get(hub, folder, waits, name="someone/Big-GGUF:Q6_K")
    assert names(folder) == [Path(name).name for name in shards]
    assert len(read_gguf(pulled.paths[0]).tensors) == 3
    # A single shard that was named brings its siblings too.
    for path in pulled.paths[:2]:
        path.unlink()
    get(hub, folder, waits, name=f"someone/Big-GGUF:{shards[1]}")
    assert len(names(folder)) == 3


def test_a_mirror_without_a_listing_gives_the_hash_with_the_file(
    hub: FakeHub, folder: Path, waits
) -> None:
    hub.without_listing = True
    get(hub, folder, waits)
    assert (folder / FILE).read_bytes() == BODY
    assert [one.method for one in hub.seen] == ["GET", "HEAD", "GET", "GET"]


# Faults of the connection


def test_a_cut_connection_goes_on_where_it_broke_off(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Cut(200_000), Cut(100_000), Good()]
    notes = Notes()
    get(hub, folder, waits, notes=notes)
    assert (folder / FILE).read_bytes() == BODY
    ranges = [one.headers.get("range") for one in hub.byte_requests()]
    assert ranges == [None, "bytes=200000-", "bytes=300000-"]
    assert len(waits) == 2
    assert all("trying again" in note for note in notes.notes)


def test_an_interrupted_download_is_resumed_by_the_next_command(
    hub: FakeHub, folder: Path, waits
) -> None:
    hub.faults = [Cut(250_000)] + [Status(503)] * 9
    with pytest.raises(NetworkError, match="503") as caught:
        get(hub, folder, waits)
    assert "250,000 bytes are kept" in caught.value.hint
    (part,) = names(folder)
    assert part.startswith(f"{FILE}.part-")
    hub.faults.clear()
    hub.seen.clear()
    get(hub, folder, waits)
    assert [one.headers["range"] for one in hub.byte_requests()] == ["bytes=250000-"]
    assert names(folder) == [FILE]
    assert (folder / FILE).read_bytes() == BODY


def test_a_server_that_always_breaks_off_is_given_up(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Cut(1000)] + [Cut(0)] * 50
    with pytest.raises(NetworkError):
        get(hub, folder, waits)
    assert len(hub.byte_requests()) == 6
    assert sum(waits) < 60


def test_a_server_without_ranges_that_breaks_off_is_given_up(
    hub: FakeHub, folder: Path, waits
) -> None:
    hub.faults = [NoRanges(cut_after=1000)] * 50
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1"):
        get(hub, folder, waits)
    assert len(hub.byte_requests()) <= 6


def test_a_server_without_ranges_starts_over(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Cut(1000), NoRanges()]
    notes = Notes()
    get(hub, folder, waits, notes=notes)
    assert (folder / FILE).read_bytes() == BODY
    assert notes.bytes == len(BODY)


@pytest.mark.parametrize("fault", [Status(416), WrongRange()])
def test_a_refused_or_wrong_range_starts_over(hub: FakeHub, folder: Path, waits, fault) -> None:
    hub.faults = [Cut(1000), fault, Good()]
    get(hub, folder, waits)
    assert (folder / FILE).read_bytes() == BODY
    assert [one.headers.get("range") for one in hub.byte_requests()] == [None, "bytes=1000-", None]


def test_a_416_for_the_whole_file_is_an_error_not_a_loop(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Status(416)] * 20
    with pytest.raises(NetworkError, match="416"):
        get(hub, folder, waits)
    assert len(hub.byte_requests()) == 1


def test_a_part_that_is_whole_already_is_only_checked(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Cut(1000), Status(403)]
    with pytest.raises(NetworkError):
        get(hub, folder, waits)
    (part,) = folder.iterdir()
    part.write_bytes(BODY)
    hub.seen.clear()
    get(hub, folder, waits)
    assert hub.byte_requests() == []
    assert names(folder) == [FILE]


def test_a_server_that_trickles_is_left(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Trickle(), Good()]
    notes = Notes()
    get(hub, folder, waits, notes=notes, slow_window=0.2, slowest=100_000)
    assert (folder / FILE).read_bytes() == BODY
    assert any("bytes a second" in note for note in notes.notes)


def test_a_server_that_falls_silent_is_asked_again(
    hub: FakeHub, folder: Path, waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "SILENCE_SECONDS", 0.2)
    hub.faults = [Trickle(every=3.0), Good()]
    notes = Notes()
    get(hub, folder, waits, notes=notes)
    assert (folder / FILE).read_bytes() == BODY
    assert any("did not answer in time" in note for note in notes.notes)


def test_a_hub_that_is_not_there_is_named(folder: Path, waits) -> None:
    fake = FakeHub()
    with fake.running():
        pass  # its port is free again
    with pytest.raises(NetworkError, match=r"127\.0\.0\.1") as caught:
        get(fake, folder, waits)
    assert "HF_ENDPOINT" in caught.value.hint


# Wrong bytes


def test_wrong_bytes_are_deleted_and_said(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Damaged()]
    with pytest.raises(NetworkError, match="not the hub's"):
        get(hub, folder, waits)
    assert names(folder) == []


def test_a_damaged_part_is_fetched_anew_once(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Cut(300000), Status(403)]
    with pytest.raises(NetworkError):
        get(hub, folder, waits)
    (part,) = folder.iterdir()
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    notes = Notes()
    get(hub, folder, waits, notes=notes)
    assert (folder / FILE).read_bytes() == BODY
    assert any("damaged" in note for note in notes.notes)


def test_more_bytes_than_announced_are_refused(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [TooMuch()]
    with pytest.raises(NetworkError, match="more bytes"):
        get(hub, folder, waits)


def test_a_login_page_in_place_of_the_file_is_seen_at_its_first_bytes(
    hub: FakeHub, folder: Path, waits
) -> None:
    hub.faults = [Page()]
    with pytest.raises(ModelError, match="is not a GGUF"):
        get(hub, folder, waits)
    assert list(folder.iterdir()) == [], "no empty part is left"


def test_a_broken_gguf_on_the_hub_does_not_get_the_name(hub: FakeHub, folder: Path, waits) -> None:
    hub.add(REPO, "Broken-Q4_0.gguf", BODY[: len(BODY) // 2])
    with pytest.raises(ModelError, match="no valid GGUF"):
        get(hub, folder, waits, name=f"{REPO}:Broken-Q4_0.gguf")
    assert names(folder) == []


def test_another_file_under_the_name_is_never_replaced(hub: FakeHub, folder: Path, waits) -> None:
    folder.mkdir()
    for other in (b"mine", bytes(len(BODY))):
        (folder / FILE).write_bytes(other)
        with pytest.raises(ModelError, match="not the file of the hub") as caught:
            get(hub, folder, waits)
        assert "lais models rm" in caught.value.hint
        assert (folder / FILE).read_bytes() == other


def test_a_part_of_another_version_is_not_used_and_goes(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Cut(1000), Status(403)]
    with pytest.raises(NetworkError):
        get(hub, folder, waits)
    hub.add(REPO, FILE, newer := model_bytes(version="2"))
    hub.seen.clear()
    get(hub, folder, waits)
    assert hub.byte_requests()[0].headers.get("range") is None
    assert (folder / FILE).read_bytes() == newer
    assert names(folder) == [FILE]


# The disk


def test_too_little_room_is_said_before_the_first_byte(hub: FakeHub, folder: Path, waits) -> None:
    with pytest.raises(ModelError, match="GB free") as caught:
        get(hub, folder, waits, free_bytes=lambda _: 100_000)
    assert caught.value.details["needed_bytes"] == len(BODY)
    assert hub.byte_requests() == []


def test_a_full_disk_keeps_what_came(
    hub: FakeHub, folder: Path, waits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "_CHUNK", 100_000)
    written = 0
    plain = download._Part._write

    class FullDisk:
        def __init__(self, stream) -> None:
            self.stream = stream

        def write(self, piece: memoryview) -> int:
            nonlocal written
            if written >= 200_000:
                raise OSError(errno.ENOSPC, "No space left on device")
            count = self.stream.write(piece[: 200_000 - written])
            written += count
            return count

        def __getattr__(self, name: str) -> object:
            return getattr(self.stream, name)

    def limited(part: object, piece: memoryview) -> int:
        if not isinstance(part._stream, FullDisk):
            part._stream = FullDisk(part._stream)
        return plain(part, piece)

    monkeypatch.setattr(download._Part, "_write", limited)
    with pytest.raises(ModelError, match="the disk is full") as caught:
        get(hub, folder, waits)
    assert "goes on from there" in caught.value.hint
    (part,) = folder.iterdir()
    assert part.stat().st_size == 200_000
    monkeypatch.setattr(download._Part, "_write", plain)
    hub.seen.clear()
    get(hub, folder, waits)
    assert [one.headers["range"] for one in hub.byte_requests()] == ["bytes=200000-"]
    assert (folder / FILE).read_bytes() == BODY


def test_ctrl_c_keeps_what_came(hub: FakeHub, folder: Path, waits) -> None:
    class Impatient(Notes):
        def advance(self, count: int) -> None:
            super().advance(count)
            if self.bytes > 100_000:
                raise KeyboardInterrupt

    hub.faults = [Cut(150_000)]
    with pytest.raises(KeyboardInterrupt):
        get(hub, folder, waits, notes=Impatient())
    (part,) = folder.iterdir()
    assert part.stat().st_size > 100_000
    get(hub, folder, waits)
    assert (folder / FILE).read_bytes() == BODY


def test_two_commands_do_not_write_to_one_part(hub: FakeHub, folder: Path, waits) -> None:
    class Second(Notes):
        tried = False

        def advance(self, count: int) -> None:
            if not Second.tried:
                Second.tried = True
                with pytest.raises(ModelError, match="another command downloads"):
                    get(hub, folder, waits)

    get(hub, folder, waits, notes=Second())
    assert Second.tried
    assert (folder / FILE).read_bytes() == BODY


def test_a_folder_without_write_permission_is_named(hub: FakeHub, tmp_path: Path, waits) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("a file where the folder should be")
    with pytest.raises((ModelError, OSError)) as caught:
        get(hub, blocked / "models", waits)
    assert isinstance(caught.value, ModelError)
    assert "MODELS_DIR" in caught.value.hint


# The token and redirects


def test_the_token_goes_to_the_hub_and_to_nobody_else(hub: FakeHub, folder: Path, waits) -> None:
    get(hub, folder, waits, token=TOKEN)
    for one in hub.seen:
        sent = TOKEN in str(one.headers)
        assert sent is (one.site == "hub"), one.path
    assert len(hub.byte_requests()) == 1


def test_neither_the_token_nor_signed_addresses_are_logged(
    hub: FakeHub, folder: Path, waits, caplog: pytest.LogCaptureFixture
) -> None:
    hub.faults = [Cut(1000), Status(503), Good()]
    notes = Notes()
    with caplog.at_level(logging.INFO):
        get(hub, folder, waits, token=TOKEN, notes=notes)
    said = caplog.text + " ".join(notes.notes)
    assert TOKEN not in said
    assert "signature" not in said


def test_a_token_is_not_sent_in_clear_text_over_the_network() -> None:
    with pytest.raises(SettingsError, match="clear text") as caught:
        Hub("http://mirror.example", TOKEN)
    assert TOKEN not in str(caught.value.as_dict())


def test_a_redirect_from_https_to_http_is_refused() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"location": "http://elsewhere.example/file"})

    with Hub("https://hub.example", None) as client:
        client._client = httpx.Client(transport=httpx.MockTransport(answer))
        with (
            pytest.raises(NetworkError, match="not safe"),
            client.open("GET", "https://hub.example/a", about=Reference(REPO)),
        ):
            pass


def test_redirects_in_circles_end(hub: FakeHub, folder: Path, waits) -> None:
    hub.redirect_to = f"{hub.endpoint}/{REPO}/resolve/main/{FILE}"
    with pytest.raises(NetworkError, match="in circles"):
        get(hub, folder, waits)


# What the hub refuses


@pytest.mark.parametrize(
    ("status", "code", "token", "says", "hint"),
    [
        (401, "GatedRepo", None, "asks for a login", "HF_TOKEN"),
        (401, "GatedRepo", TOKEN, "asks for a login", "not accepted"),
        (401, "RepoNotFound", None, "is not on", "spelling"),
        (403, "GatedRepo", TOKEN, "does not give", "Ask for access"),
        (404, "RevisionNotFound", None, "is not on", "spelling"),
        (429, "", None, "too many requests", "HF_TOKEN"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: FakeHub, folder: Path, waits, status, code, token, says, hint
) -> None:
    hub.hub_status["listing"] = (status, {"X_Error_Code": code} if code else {})
    with pytest.raises(NetworkError, match=says) as caught:
        get(hub, folder, waits, token=token)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 7


def test_too_many_requests_are_waited_for_as_long_as_asked(
    hub: FakeHub, folder: Path, waits
) -> None:
    hub.faults = [Status(429, (("Retry-After", "17"),)), Good()]
    get(hub, folder, waits)
    assert waits == [17.0]


def test_a_hub_that_is_busy_for_a_moment_is_asked_again(hub: FakeHub, folder: Path, waits) -> None:
    class Patience(list[float]):
        def append(self, seconds: float) -> None:
            super().append(seconds)
            hub.hub_status.clear()

    hub.hub_status["listing"] = (503, {})
    get(hub, folder, busy := Patience())
    assert busy == [1.0]
    assert (folder / FILE).read_bytes() == BODY


def test_a_hub_that_stays_away_is_given_up_soon(hub: FakeHub, folder: Path, waits) -> None:
    hub.hub_status["listing"] = (502, {})
    with pytest.raises(NetworkError, match="502"):
        get(hub, folder, waits)
    assert waits == [1.0, 2.0]


def test_a_long_wait_is_left_to_the_person(hub: FakeHub, folder: Path, waits) -> None:
    hub.faults = [Status(429, (("Retry-After", "3600"),))]
    with pytest.raises(NetworkError, match="too many requests"):
        get(hub, folder, waits)
    assert waits == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (f"{REPO}:Q5_K_M", "not there"),
        (f"{REPO}:Tset-Q4_K_M.gguf", "not there"),
        ("someone/Many-GGUF", "not one file"),
    ],
)
def test_a_file_that_is_not_clear_lists_what_there_is(
    hub: FakeHub, folder: Path, waits, name, says
) -> None:
    for quant in ("Q2_K", "Q8_0"):
        hub.add("someone/Many-GGUF", f"Many-{quant}.gguf", BODY)
    with pytest.raises(UsageError, match=says) as caught:
        get(hub, folder, waits, name=name)
    assert ".gguf" in caught.value.hint


def test_a_repository_without_a_gguf_is_refused(hub: FakeHub, folder: Path, waits) -> None:
    hub.add("someone/Weights", "model.safetensors", b"x")
    with pytest.raises(UsageError, match=r"no \.gguf file"):
        get(hub, folder, waits, name="someone/Weights")


def test_a_shard_that_is_missing_on_the_hub_is_named(hub: FakeHub, folder: Path, waits) -> None:
    hub.add("someone/Torn-GGUF", "Torn-00001-of-00002.gguf", shard_bytes(1, 2))
    with pytest.raises(NetworkError, match=r"Torn-00002-of-00002\.gguf is missing"):
        get(hub, folder, waits, name="someone/Torn-GGUF")


@pytest.mark.parametrize(
    "name",
    ["", "nothing", "a/b/c", "../x:y", "user/repo:../../etc/passwd.gguf", "user/repo:/etc/x.gguf",
     "user/..:x.gguf", "user/repo@../../x:y.gguf", "https://huggingface.co/user/repo",
     "user repo/x"],
)  # fmt: skip
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(name)
    assert caught.value.hint


def test_a_name_with_a_typing_error_gets_the_right_one() -> None:
    with pytest.raises(UsageError) as caught:
        parse("qwen2.5-coder-7")
    assert "qwen2.5-coder-7b" in caught.value.hint


@given(st.text(alphabet="ab/:@.-_ Q4KM~%\\\n", max_size=40))
def test_any_name_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert found.repo.count("/") == 1
    assert ".." not in f"{found.repo}/{found.revision}".split("/")
    assert not (found.file or "").startswith("/")


def test_a_revision_can_be_named() -> None:
    assert parse("user/repo@v2:a.gguf") == Reference("user/repo", "a.gguf", "v2")
    assert parse("hf.co/user/repo:Q8_0") == Reference("user/repo", "Q8_0")


def test_nothing_of_the_download_is_executable(hub: FakeHub, folder: Path, waits) -> None:
    get(hub, folder, waits)
    assert not os.access(folder / FILE, os.X_OK)
