"""What models in MLflow refer to: the runs that logged their champions and challengers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from dsml.contract.catalog import Catalog
from dsml.evidence.mlflow_state import is_empty
from dsml.evidence.mlflow_values import all_pages
from dsml.evidence.models.registry import Registry
from dsml.step.models import asking, client_of, registered_name, registry_of
from dsml.step.tracking import tracking_of

COMMAND = "dsml gc"


def pinned(root: Path, catalog: Catalog) -> Mapping[tuple[str, str], str]:
    """The run and the label of each step that logged a model with an alias, and why it stays.

    All models of the project count, those too that the catalog doesn't have any more.

    Raises:
        ProjectError: MLflow doesn't answer. What it refers to isn't known then.
    """
    tracking = tracking_of(root, catalog)
    if tracking is None or is_empty(tracking):
        return {}
    tracking = registry_of(root, catalog, COMMAND)
    found: dict[tuple[str, str], str] = {}
    with asking(tracking, COMMAND):
        client = client_of(tracking)
        prefix = registered_name(catalog, "")
        search = partial(client.search_registered_models, f"name LIKE '{prefix}%'")
        for model in all_pages(search):
            if not model.aliases:
                continue
            for version in Registry(tracking, model.name, client).versions():
                if version.aliases and version.run_id:
                    aliases = " and ".join(sorted(version.aliases))
                    found[version.origin] = f"{aliases} of the model {model.name}"
    return found
