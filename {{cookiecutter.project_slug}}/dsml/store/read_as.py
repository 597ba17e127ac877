"""What a manifest says of an artefact, in the words of those who read it."""

from __future__ import annotations

from dsml.store.manifest import Input, Manifest


def input_of(found: Manifest, out: str) -> Input:
    """What a manifest says of an artefact, as those record it who read it."""
    output, path = found.outputs[out], f"{found.step}.{out}"
    parts = None
    if output.parts is not None:
        runs = found.instances or {}
        parts = {
            key: Input(
                path,
                runs[key].run_id,
                part.file,
                part.bytes,
                part.sha256,
                found.ended,
                found.partition,
                key,
                runs[key].values,
            )
            for key, part in output.parts.items()
        }
    return Input(
        path,
        found.origin.run_id,
        output.file,
        output.bytes,
        output.sha256,
        found.ended,
        found.partition,
        found.instance,
        parts=parts,
    )
