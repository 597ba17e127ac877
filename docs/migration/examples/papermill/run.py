"""Clean the table, then fit a model for each weight of the penalty."""

from pathlib import Path

import papermill as pm

Path("out").mkdir(exist_ok=True)
pm.execute_notebook("clean.ipynb", "out/clean.ipynb", parameters={"min_area": 40.0})
for alpha in [0.1, 1.0, 10.0]:
    pm.execute_notebook(
        "fit.ipynb",
        f"out/fit_{alpha}.ipynb",
        parameters={"alpha": alpha, "target": f"out/model_{alpha}.json"},
    )
