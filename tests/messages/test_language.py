"""Who speaks Korean, and who does not: the terminal alone."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from local_ai_suite.cli.main import VERBS
from local_ai_suite.messages.language import wanted
from local_ai_suite.messages.width import width
from local_ai_suite.paths import Paths

PACKAGE = Path(__file__).parents[2] / "src" / "local_ai_suite"
VARIABLES = ("LAIS_LANG", "LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG")
HANGUL = re.compile("[가-힣]")
KOREAN = {"LANG": "ko_KR.UTF-8"}


@pytest.mark.parametrize(
    ("environment", "language"),
    [
        ({}, ""),
        ({"LANG": "ko_KR.UTF-8"}, "ko"),
        ({"LANG": "ko"}, "ko"),
        ({"LANG": "en_US.UTF-8"}, "en"),
        ({"LANG": "C.UTF-8"}, "c"),
        ({"LC_MESSAGES": "ko_KR", "LANG": "en_US"}, "ko"),
        ({"LC_ALL": "C", "LC_MESSAGES": "ko_KR", "LANG": "ko_KR"}, "c"),
        ({"LC_ALL": "", "LANG": "ko_KR"}, "ko"),  # an empty one is not set (POSIX)
        ({"LAIS_LANG": "ko", "LC_ALL": "C"}, "ko"),
        ({"LAIS_LANG": "en", "LANG": "ko_KR"}, "en"),
        ({"LAIS_LANG": "KO-kr"}, "ko"),
        ({"LAIS_LANG": "../../ko"}, ""),
    ],
)
def test_the_first_variable_that_is_set_decides(environment: dict[str, str], language: str) -> None:
    assert wanted(environment) == language


def test_only_the_command_line_chooses_a_language() -> None:
    """Services inherit LANG, and answer their clients in English all the same."""
    speakers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module == "local_ai_suite.messages"
        for name in node.names
        if name.name == "speak"
    }
    assert speakers == {"cli/main.py"}


def plain() -> dict[str, str]:
    """The environment without a language."""
    return {name: value for name, value in os.environ.items() if name not in VARIABLES}


def lais(paths: Paths, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The real program, in a project of its own."""
    return subprocess.run(
        [sys.executable, "-m", "local_ai_suite", *words],
        env=plain()
        | {"LAIS_PROJECT": str(paths.project), "LAIS_STATE": str(paths.state), "RUNTIME": "native"}
        | {"PYTHONUTF8": "1", "COLUMNS": "80"}
        | environment,
        cwd=paths.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("environment", [KOREAN, {"LAIS_LANG": "ko", "LC_ALL": "C.UTF-8"}])
def test_a_korean_terminal_reads_korean(paths: Paths, environment: dict[str, str]) -> None:
    done = lais(paths, "--help", **environment)
    assert "사용법:" in done.stdout
    assert "명령:" in done.stdout
    done = lais(paths, "staus", **environment)
    assert done.returncode == 2
    assert "'status'를 찾으셨나요?" in done.stderr
    done = lais(paths, "status", **environment)
    assert "실행 중인 것이 없습니다" in done.stdout


@pytest.mark.parametrize(
    "words",
    ["doctor", "models", "settings", "engine list", "approvals policy", "models recommended"],
)
def test_a_page_that_is_put_together_has_no_english_sentence(paths: Paths, words: str) -> None:
    """What is joined in the wrong way loses its template, and shows itself here."""
    done = lais(paths, *words.split(), **KOREAN)
    assert HANGUL.search(done.stdout), done.stderr
    # Commands, and what the system says, are as they are.
    ours = re.sub(r"`[^`]*`|lais [a-z ]+|\[Errno.*|No such file or directory", "", done.stdout)
    assert not re.findall(r"[a-z]{2,} [a-z]{2,} [a-z]{2,} [a-z]{2,}", ours)


def test_an_error_from_deep_inside_is_korean_with_its_values(paths: Paths) -> None:
    (paths.project / ".env").write_text("INFERENCE_PORT=much\n")
    done = lais(paths, "models", **KOREAN)
    assert done.returncode == 3
    assert done.stderr.startswith("오류: INFERENCE_PORT")
    assert "1부터 65535까지의 포트 번호" in done.stderr
    assert ".env" in done.stderr


@pytest.mark.parametrize(
    "environment", [{}, {"LANG": "en_US.UTF-8"}, {"LAIS_LANG": "en", "LANG": "ko_KR.UTF-8"}]
)
def test_others_read_english(paths: Paths, environment: dict[str, str]) -> None:
    done = lais(paths, "status", **environment)
    assert done.stdout == "Nothing runs here. Start it with: make up-p1\n"


def test_a_terminal_without_korean_letters_reads_english(paths: Paths) -> None:
    done = lais(paths, "status", PYTHONUTF8="0", PYTHONIOENCODING="latin-1", **KOREAN)
    assert done.stdout == "Nothing runs here. Start it with: make up-p1\n"


@pytest.mark.parametrize("words", [("status",), ("doctor",), ("models",), ("load", "-x")])
def test_json_is_the_same_in_every_language(paths: Paths, words: tuple[str, ...]) -> None:
    korean, english = lais(paths, *words, "--json", **KOREAN), lais(paths, *words, "--json")
    assert not HANGUL.search(korean.stdout)
    told = [json.loads(done.stdout) for done in (korean, english)]
    assert told[0].keys() == told[1].keys()
    assert korean.returncode == english.returncode


def test_a_log_is_english(paths: Paths) -> None:
    (paths.project / ".env").write_text("MODELS_DIR=gone\n")
    done = lais(paths, "up", **KOREAN)
    assert done.returncode != 0
    assert HANGUL.search(done.stderr)
    logs = [file.read_text() for file in paths.logs.glob("*.log")]
    assert logs
    assert not any(HANGUL.search(text) for text in logs)


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """Every verb's help page, in Korean, for a terminal of 80 columns."""
    code = (
        "import json, os\n"
        "from click.testing import CliRunner\n"
        "from local_ai_suite.cli.help import translate_help\n"
        "from local_ai_suite.cli.main import VERBS, lais\n"
        "from local_ai_suite.messages import speak\n"
        "assert speak(os.environ)\n"
        "translate_help(lais)\n"
        "run = CliRunner().invoke\n"
        "print(json.dumps({v: run(lais, [v, '--help'], prog_name='lais').output for v in VERBS}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plain() | KOREAN | {"COLUMNS": "80", "PYTHONUTF8": "1"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_verbs_help_is_korean_and_fits_eighty_columns(
    pages: dict[str, str], verb: str
) -> None:
    page = pages[verb]
    assert page.startswith("사용법: lais ")
    # Latin words are names: of commands, settings, files, formats. Four in a row are a sentence.
    assert not re.findall(r"[a-z]{2,} [a-z]{2,} [a-z]{2,} [a-z]{2,}", page)
    assert [line for line in page.splitlines() if width(line) > 80 and "lais " not in line] == []


def test_words_of_others_are_never_taken_for_ours() -> None:
    """A model may answer with a word that stands in the catalogue."""
    code = (
        "import os\n"
        "from local_ai_suite.messages import looked_up, say, speak, tr, translated\n"
        "assert speak(os.environ)\n"
        "assert say('stopped') == translated(tr('stopped')) == looked_up('stopped') == '중지됨'\n"
        "assert translated('stopped') == 'stopped'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=plain() | KOREAN,
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_english_costs_no_translation() -> None:
    """``lais --help`` is asked for at every Tab: no catalogue is read for it."""
    code = (
        "import sys\n"
        "from local_ai_suite.cli.main import main\n"
        "try:\n    main(['--version'])\n"
        "except SystemExit:\n    pass\n"
        "from local_ai_suite.messages import language\n"
        "assert language._spoken is None\n"
        "assert 'babel' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=plain(), capture_output=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
