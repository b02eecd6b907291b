#!/usr/bin/env python3
"""Look at what waits for a decision, and decide: the same as `lais approvals`."""

import sys

from _reexec import enter_environment

enter_environment()

from local_ai_suite.cli.main import main  # noqa: E402

main(["approvals", *sys.argv[1:]])
