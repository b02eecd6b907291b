"""``python -m local_ai_suite`` is ``lais``."""

from local_ai_suite.cli.start import main

main()
