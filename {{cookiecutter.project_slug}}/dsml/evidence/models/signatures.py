"""Whether a model takes what another one takes, by their signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlflow.models import ModelSignature

# What MLflow lets in for a type, beside the type itself.
_WIDER = {"integer": {"long", "double"}, "float": {"double"}}
_LISTED = 5


def shown(signature: ModelSignature | None) -> str:
    """A signature in a few words."""
    if signature is None or signature.inputs is None:
        return "none"
    return f"{len(signature.inputs.inputs)} inputs"


def incompatible(new: ModelSignature | None, old: ModelSignature | None) -> str:
    """What a model would not take that the old one does; "" where that is nothing.

    A wider type is fine, and so are inputs that may be missing; what a model doesn't need it
    passes over. Where the old one has no signature there is nothing to hold to.
    """
    if old is None or old.inputs is None:
        return ""
    if new is None or new.inputs is None:
        return "it has no signature: log it with input_example="
    if new.inputs.is_tensor_spec() or old.inputs.is_tensor_spec():
        same = _tensors(new) == _tensors(old)
        return "" if same else f"it takes {_tensors(new)} where {_tensors(old)} is given"
    known = {spec.name: spec for spec in old.inputs.inputs}
    missing = [
        str(spec.name) for spec in new.inputs.inputs if spec.required and spec.name not in known
    ]
    if missing:
        return f"it needs {_listed(missing)} too"
    wrong = [
        f"{spec.name} as {_type(spec)}, not {_type(known[spec.name])}"
        for spec in new.inputs.inputs
        if spec.name in known and not _takes(_type(spec), _type(known[spec.name]))
    ]
    if wrong:
        return f"it takes {_listed(wrong)}"
    needed = [
        str(spec.name)
        for spec in new.inputs.inputs
        if spec.name in known and spec.required and not known[spec.name].required
    ]
    return f"it cannot do without {_listed(needed)}" if needed else ""


def _takes(wanted: str, given: str) -> bool:
    return wanted == given or wanted in _WIDER.get(given, ())


def _type(spec: Any) -> str:
    return str(getattr(spec.type, "name", spec.type))


def _tensors(signature: Any) -> str:
    return ", ".join(
        f"{spec.name or 'a tensor'} of {spec.type} {getattr(spec, 'shape', '')}".strip()
        for spec in signature.inputs.inputs
    )


def _listed(names: list[str]) -> str:
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")
