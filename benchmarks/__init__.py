"""Measurements of the template and of the runtime that it carries: `make bench`."""

from __future__ import annotations

import sys
from pathlib import Path

# The runtime stands in the folder that Cookiecutter turns into a project.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "{{cookiecutter.project_slug}}"))
