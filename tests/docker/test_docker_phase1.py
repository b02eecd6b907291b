"""The specification's scenarios of phase 1, as containers."""

from __future__ import annotations

import pytest
from pytest_bdd import scenarios

import phase1_steps

pytestmark = [pytest.mark.docker, pytest.mark.timeout(1800)]

globals().update(phase1_steps.steps())
scenarios(str(phase1_steps.FEATURE))
