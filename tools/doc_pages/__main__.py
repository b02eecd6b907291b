"""Write the generated pages of docs/: `make docs`. With ``--check``: say which are old."""

from __future__ import annotations

import sys

from doc_pages.table import DOCS, made


def main() -> None:
    old = [name for name, text in made().items() if not _is(name, text)]
    if "--check" in sys.argv:
        if old:
            raise SystemExit(f"old: {', '.join(old)}. Run make docs")
        return
    for name in old:
        path = DOCS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(made()[name], encoding="utf-8")
        print(path)


def _is(name: str, text: str) -> bool:
    path = DOCS / name
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    main()
