"""What a reader could not use: fatal at once, or counted and told. Never silent."""

from __future__ import annotations

from collections import Counter

from vision_r1_data.errors import DataError

_MOST_TOLD = 20


class Faults:
    """Bad records, counted by kind.

    Args:
        skip: leave out what is bad and count it; else the first is an error.
        option: what an error names as the way to skip.

    Example:
        >>> faults = Faults(skip=True)
        >>> faults.add("bad_box", "set.json: annotations[3]: bbox has no area; correct it")
        >>> faults.counts["bad_box"], str(faults)
        (1, '1 left out (bad_box 1), the first: set.json: annotations[3]: bbox has no area; correct it')
    """

    def __init__(self, *, skip: bool = False, option: str = "Faults(skip=True)") -> None:
        self.skip, self.option = skip, option
        self.counts: Counter[str] = Counter()
        self.told: list[str] = []
        """The first twenty, in one line each: what, where and how to fix it."""
        self.ruled: Counter[str] = Counter()
        """What is not bad and yet left out, by a rule that the reader documents."""

    def add(self, kind: str, message: str) -> None:
        """Count one.

        Args:
            kind: such as "bad_box".
            message: what is wrong, where, and how to fix it.

        Raises:
            DataError: nothing is to be skipped.
        """
        if not self.skip:
            raise DataError(f"{message}, or skip what is bad with {self.option}")
        self.counts[kind] += 1
        if len(self.told) < _MOST_TOLD:
            self.told.append(message)

    def rule(self, kind: str) -> None:
        """Count one that is not bad and yet left out by a rule, such as "same_box". Never an error."""
        self.ruled[kind] += 1

    def __str__(self) -> str:
        parts = []
        if self.ruled:
            parts.append(f"{self.ruled.total()} left out by rule ({_kinds(self.ruled)})")
        if self.counts:
            parts.append(f"{self.counts.total()} left out ({_kinds(self.counts)}), the first: {self.told[0]}")
        return "; ".join(parts) or "nothing left out"


def _kinds(counts: Counter[str]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
