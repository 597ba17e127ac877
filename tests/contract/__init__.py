"""Tests of `dsml.contract` and of `dsml check`."""
