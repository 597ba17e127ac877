"""The job of two notebooks: what `clean` yields is an input of `fit`."""

from dagster import Definitions, Field, In, Out, job
from dagstermill import ConfigurableLocalOutputNotebookIOManager, define_dagstermill_op

clean = define_dagstermill_op(
    "clean_houses",
    "clean.ipynb",
    outs={"clean": Out()},
    config_schema={"min_area": Field(float, default_value=30.0)},
)
fit = define_dagstermill_op(
    "fit_price",
    "fit.ipynb",
    ins={"clean": In()},
    outs={"model": Out()},
    config_schema={"alpha": Field(float, default_value=1.0)},
)


@job
def houses() -> None:
    """Clean the table, fit the price."""
    fit(clean=clean())


defs = Definitions(
    jobs=[houses],
    resources={"output_notebook_io_manager": ConfigurableLocalOutputNotebookIOManager()},
)
