"""A node of the pipeline, as a function."""

import pandas as pd


def count_by_rooms(clean: pd.DataFrame) -> pd.DataFrame:
    """How many houses have so many rooms."""
    return clean.groupby("rooms").size().reset_index(name="houses")
