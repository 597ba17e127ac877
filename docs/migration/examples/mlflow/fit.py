"""Fit the price of a house."""

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd

alpha = float(sys.argv[1])

clean = pd.read_csv("clean.csv")
design = np.column_stack([np.ones(len(clean)), clean["area"], clean["rooms"]])
penalty = alpha * np.diag([0, 1, 1])
weights = np.linalg.solve(design.T @ design + penalty, design.T @ clean["price"])
error = float(np.abs(design @ weights - clean["price"]).mean())

Path("model.json").write_text(json.dumps(list(weights)))
with mlflow.start_run():
    mlflow.log_param("alpha", alpha)
    mlflow.log_metric("error", error)
    mlflow.log_artifact("model.json")
