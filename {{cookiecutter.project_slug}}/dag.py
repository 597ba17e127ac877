"""The Dagster definitions of this project: every registered notebook, wired as catalog.yml says."""

from pathlib import Path

from dsml.orchestrate.definitions import load_definitions

defs = load_definitions(Path(__file__).parent)
