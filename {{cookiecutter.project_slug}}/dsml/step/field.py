"""``Field``, for notebooks that declare their parameters in ``config_schema``."""

from __future__ import annotations

from typing import Any


class Field:
    """One parameter, declared as with ``dagster.Field`` but without importing dagster.

    It is read from the notebook's source; at run time it only has to be there.

    Args:
        config: the type: int, float, str, bool, list, dict, or a dict of fields.
        default_value: the value where neither an experiment nor a run sets one.
        is_required: accepted for Dagster's sake; every parameter has a default here.
        description: what the parameter means.
    """

    def __init__(
        self,
        config: Any = Any,
        default_value: Any = None,
        is_required: bool = False,
        description: str = "",
    ) -> None:
        self.config = config
        self.default_value = default_value
        self.is_required = is_required
        self.description = description
