#!/usr/bin/env python3
"""The assistant: `python scripts/ai.py "question"` is `lais ai "question"`, from any Python."""

import sys

from _reexec import enter_environment

if __name__ == "__main__":
    enter_environment()
    from local_ai_suite.cli.start import main

    main(["ai", *sys.argv[1:]])
