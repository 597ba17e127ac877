"""Dagster: notebooks as assets, pipelines as jobs, and the runner. Only this package imports it."""
