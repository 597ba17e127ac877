"""Which mutants are drawn, and what their fate says of all."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

_SIGMAS = 1.96  # 95 % of a normal distribution lie within so many


def draw(mutants: Mapping[str, Sequence[str]], size: int, seed: int) -> list[str]:
    """Draw `size` mutants, of each file as many as its share of all; the same for a seed."""
    total = sum(map(len, mutants.values()))
    size = min(size, total)
    shares = {file: size * len(names) / total for file, names in mutants.items()}
    counts = {file: math.floor(share) for file, share in shares.items()}
    missing = sorted(shares, key=lambda file: (counts[file] - shares[file], file))
    for file in missing[: size - sum(counts.values())]:
        counts[file] += 1
    chance = random.Random(seed)  # noqa: S311 - it draws, and keeps no secret
    return [
        name
        for file in sorted(mutants)
        for name in chance.sample(sorted(mutants[file]), counts[file])
    ]


def interval(noticed: int, drawn: int) -> tuple[float, float]:
    """Wilson's 95 % interval of the share of all mutants that are noticed."""
    share, square = noticed / drawn, _SIGMAS**2
    middle = share + square / (2 * drawn)
    spread = _SIGMAS * math.sqrt(share * (1 - share) / drawn + square / (4 * drawn**2))
    whole = 1 + square / drawn
    return max(0.0, (middle - spread) / whole), min(1.0, (middle + spread) / whole)
