"""The specification's scenarios of phase 1, as processes."""

from __future__ import annotations

from pytest_bdd import scenarios

import phase1_steps

globals().update(phase1_steps.steps())
scenarios(str(phase1_steps.FEATURE))
