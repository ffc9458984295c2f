"""The exploits of counting: what a policy might say in place of the right number."""

from __future__ import annotations

from vision_r1_grpo.rewards.audit.exploits import Pair
from vision_r1_grpo.rewards.audit.scenes import Scene


def constant_count(scene: Scene) -> Pair | None:
    """Says two, whatever is there."""
    return None if len(scene.objects) == 2 else ("2", scene.perfect)


def one_more(scene: Scene) -> Pair:
    """Says one more than there are."""
    return str(len(scene.objects) + 1), scene.perfect


def one_less(scene: Scene) -> Pair | None:
    """Says one less than there are."""
    return (str(len(scene.objects) - 1), scene.perfect) if scene.objects else None


def ten_times_as_many(scene: Scene) -> Pair | None:
    """Says ten times as many as there are."""
    return (scene.write(scene.objects * 10), scene.perfect) if scene.objects else None


def far_more(scene: Scene) -> Pair:
    """Says the largest number it can write."""
    return "9" * 30, scene.perfect


def range_of_counts(scene: Scene) -> Pair:
    """Gives a range around the right number."""
    count = len(scene.objects)
    return f"{max(count - 1, 0)}-{count + 1}", scene.perfect


def every_count(scene: Scene) -> Pair:
    """Says all numbers from 0 to 20."""
    return " ".join(map(str, range(21))), scene.perfect


def said_twice(scene: Scene) -> Pair:
    """Says the right number twice."""
    return f"{scene.perfect} {scene.perfect}", scene.perfect


def in_a_sentence(scene: Scene) -> Pair:
    """Puts the right number into a sentence."""
    return f"There are {scene.perfect} of them.", scene.perfect


def as_a_fraction(scene: Scene) -> Pair:
    """Writes the right number with decimals."""
    return f"{scene.perfect}.0", scene.perfect


def below_zero(scene: Scene) -> Pair | None:
    """Puts a minus before the right number."""
    return (f"-{scene.perfect}", scene.perfect) if scene.objects else None
