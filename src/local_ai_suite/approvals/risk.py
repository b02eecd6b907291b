"""What a file is to the programs that read it: some run what it says without a further question."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from fnmatch import fnmatchcase

from local_ai_suite.messages import tr

from .policy import Level


@dataclass(frozen=True, slots=True)
class Risk:
    """A level that a path asks for at least, and why."""

    level: Level
    reason: str


# Patterns of file and folder names, folded by `folded`; a folder's counts for all below it. One
# with a slash before it counts at the top only (in `src/hooks` some programs keep their own code).
_RISKS: tuple[tuple[Level, str, tuple[str, ...]], ...] = (
    (
        Level.CRITICAL,
        tr("git runs what it names: hooks and filters"),
        ("/hooks", ".hooks", ".husky", ".githooks", ".pre-commit-config.y*ml", "lefthook.*",
         ".lefthook.*", ".gitattributes", ".gitmodules", ".gitconfig", ".lfsconfig"),
    ),
    (
        Level.CRITICAL,
        tr("a build server runs it, with its secrets"),
        (".github", ".gitlab", ".gitlab-ci*", ".circleci", ".buildkite", ".forgejo",
         ".gitea", ".woodpecker*", ".drone.*", ".travis.yml", "azure-pipelines*", "jenkinsfile*",
         "bitbucket-pipelines*", "appveyor*", ".appveyor*", "cloudbuild.*"),
    ),
    (
        Level.CRITICAL,
        tr("an editor or a shell runs it when the folder is opened"),
        (".envrc", ".vscode", ".idea", ".zed", ".fleet", ".devcontainer", ".devcontainer.json",
         "*.code-workspace", ".exrc", ".vimrc", ".nvimrc", ".nvim.lua", ".lvimrc",
         ".dir-locals*.el", ".sublime-project", "*.sublime-project", ".bashrc", ".zshrc",
         ".profile", ".bash_profile", ".zshenv", ".mise.toml", "mise.toml", ".tool-versions"),
    ),
    (
        Level.CRITICAL,
        tr("an agent takes its orders or its tools from it"),
        (".claude*", ".cursor*", ".mcp.json", "mcp.json", "agents.md", "agents.override.md",
         "claude.md", "claude.local.md", "gemini.md", "qwen.md", "copilot-instructions.md",
         ".codex", ".gemini", ".opencode", "opencode.json*", ".qwen", ".continue*", ".cline*",
         ".windsurf*", ".aider*", ".roo*", ".kiro", ".agents", ".goosehints", ".junie", ".amp"),
    ),
    (
        Level.CRITICAL,
        tr("it holds secrets, or says where programs get theirs"),
        (".env*", "*.pem", "*.key", "*.p12", "*.pfx", "id_rsa*", "id_ed25519*", "id_ecdsa*",
         ".netrc", "_netrc", ".npmrc", ".pypirc", ".ssh", ".aws", ".gnupg", ".kube", ".docker"),
    ),
    (
        Level.HIGH,
        tr("a build or a test run executes what it says"),
        ("makefile", "gnumakefile", "*.mk", "justfile", ".justfile", "rakefile", "package.json",
         "pyproject.toml", "setup.py", "setup.cfg", "conftest.py", "tox.ini", "noxfile.py",
         "pytest.ini", "sitecustomize.py", "*.pth", "cargo.toml", "build.rs", "cmakelists.txt",
         "*.cmake", "dockerfile*", "compose*.y*ml", "docker-compose*.y*ml", "requirements*.txt",
         "gemfile", "*.gemspec", "*.gradle", "*.gradle.kts", "pom.xml", "*.sh", "*.ps1", "*.bat",
         "*.cmd", "vite.config.*", "*.nix", "meson.build", "build.zig", "deno.json*"),
    ),
)  # fmt: skip
# HFS+ leaves these out of a name; NTFS leaves out dots and spaces at its end, and a stream's name.
_IGNORED = re.compile("[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]")


def risk_of(path: str) -> Risk | None:
    """The highest risk that a name in ``path`` (relative, forward slashes) has; ``None``: none
    beyond that of any file."""
    names = [folded(part) for part in path.split("/")]
    names.append(f"/{names[0]}")
    for level, reason, patterns in _RISKS:
        if any(fnmatchcase(name, pattern) for name in names for pattern in patterns):
            return Risk(level, reason)
    return None


def folded(name: str) -> str:
    """A file's name as any file system may compare it: without case, ignored and final signs."""
    plain = unicodedata.normalize("NFKC", _IGNORED.sub("", name)).casefold()
    return plain.partition(":")[0].rstrip(" .") or plain


def is_git_folder_name(name: str) -> bool:
    """Whether a file system may take ``name`` for ``.git`` (its short name on NTFS: ``GIT~1``)."""
    return re.fullmatch(r"\.git|git~\d+", folded(name)) is not None
