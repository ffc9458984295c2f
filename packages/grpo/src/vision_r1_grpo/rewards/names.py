"""What is said of a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def known_names(known: Iterable[str], name: object) -> str:
    """The names that exist, and the nearest one if one is near.

    Example:
        >>> known_names(["strict", "paper"], "papers")
        "strict, paper; did you mean 'paper'?"
        >>> known_names(["strict", "paper"], "lenient")
        'strict, paper'
    """
    known = list(known)
    close = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return ", ".join(known or ["none"]) + hint
