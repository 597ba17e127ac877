"""Tests of the runtime that the template carries, on real stores, kernels and Dagster runs."""
