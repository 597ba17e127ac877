"""Executing the steps of a run on other machines: by workers of Dask or Ray, or in Kubernetes."""
