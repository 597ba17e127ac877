"""Clean the table of houses."""

import sys

import pandas as pd

min_area = float(sys.argv[1])

houses = pd.read_csv("data/houses.csv").dropna()
houses = houses[houses["area"] >= min_area]
houses.to_csv("clean.csv", index=False)
