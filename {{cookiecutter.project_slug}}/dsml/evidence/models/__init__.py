"""Models that were logged: the best of them becomes the champion, if it passes a gate.

::

    from dsml.evidence.models import promote

    decision = promote("digits", run=context.run_id)
    if not decision.promoted:
        print(decision)
"""

from dsml.evidence.models.decision import Criterion, Decision
from dsml.evidence.models.promotion import promote, restore, versions
from dsml.evidence.models.registry import Version

__all__ = ["Criterion", "Decision", "Version", "promote", "restore", "versions"]
