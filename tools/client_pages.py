"""Write docs/clients/ from the table of clients: `python tools/client_pages.py`."""

from pathlib import Path

from local_ai_suite.connect.pages import pages

FOLDER = Path(__file__).parents[1] / "docs" / "clients"

if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
