#!/usr/bin/env python3
"""Look at what waits for a decision, and decide: the same as `lais approvals`."""

import sys

from _reexec import enter_environment

if __name__ == "__main__":
    enter_environment()
    from local_ai_suite.cli.start import main

    main(["approvals", *sys.argv[1:]])
