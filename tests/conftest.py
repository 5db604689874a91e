"""What holds for every test."""

from __future__ import annotations

import os

from hypothesis import settings

# In CI the same cases every time, so that a change is judged by itself; on a desk new ones at each run.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.register_profile("desk", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "desk")
