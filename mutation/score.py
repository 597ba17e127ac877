"""The score of the project in the current folder."""

from __future__ import annotations

from collections import Counter

from mutation import engine
from mutation.sample import draw, interval

TESTS = 80  # that are asked about a mutant first


def measure(title: str, sample: int | None, seed: int) -> float:
    """Try a sample of the mutants, or all, and print what came out; the score in per cent."""
    mutants = engine.make()
    files = {name: file for file, names in mutants.items() for name in names}
    drawn = draw(mutants, len(files) if sample is None else sample, seed)
    missed: Counter[str] = Counter()
    for name, fate in engine.try_mutants(drawn, TESTS):
        if fate not in engine.NOTICED:
            missed[files[name]] += 1
            print(f"\n{name} ({fate})\n{engine.difference(name, files[name])}", flush=True)
    print("\nnoticed:")
    for file, count in Counter(files[name] for name in drawn).items():
        print(f"{file:<40}{count - missed[file]:5} of {count}")
    noticed = len(drawn) - missed.total()
    low, high = (100 * bound for bound in interval(noticed, len(drawn)))
    score = 100 * noticed / len(drawn)
    print(f"\n{title}: {noticed} of {len(drawn)} mutants noticed, drawn from {len(files)}")
    print(f"score {score:.1f} % (95 % interval: {low:.1f} to {high:.1f} %)")
    return score
