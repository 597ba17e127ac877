#!/usr/bin/env python
"""Clean the table."""
# %% imports
from pathlib import Path

import pandas as pd

# %% Settings
THRESHOLD = 0.5  # below it a row is dropped
SOURCE = Path("data")
COUNTRIES = ("DE", "FR")

# %% [markdown]
# Reading, with **care**

# %%
# %time table = pd.read_csv(SOURCE / "raw.csv")
table = pd.read_csv(SOURCE / "raw.csv")
notes = (SOURCE / "notes.txt").read_text()

# %%
table = table[table.value > THRESHOLD]
table[table.country.isin(COUNTRIES)].to_parquet("clean.parquet")
