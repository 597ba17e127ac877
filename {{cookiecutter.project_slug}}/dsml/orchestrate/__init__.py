"""Dagster: notebooks as assets, pipelines as jobs, and the runner. Only this package imports it."""

HOME_FOLDER = ".dagster"  # where Dagster keeps its runs, in the project
