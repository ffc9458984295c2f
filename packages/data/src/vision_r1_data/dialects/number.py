"""The answer that is one number, which all model families write alike."""

from __future__ import annotations

import re

from vision_r1_data.sample import Answer

_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*", re.ASCII)
_COUNT = re.compile(r"\d{1,6}", re.ASCII)


def decode_number(text: str) -> Answer:
    """Read a whole number from 0 to 999999; well formed is a text of nothing else.

    Of a longer text that holds one number, that one is read. Never raises.

    Problems: no_number (none, more than one, or no count), extra_text.

    Example:
        >>> decode_number("12").count, decode_number("There are 12 cats.").problems
        (12, ('extra_text',))
        >>> decode_number("3 or 4").count is None
        True
    """
    found = _NUMBER.findall(text)
    if len(found) != 1 or not _COUNT.fullmatch(found[0]):
        return Answer(problems=("no_number",))
    problems = () if text.strip() == found[0] else ("extra_text",)
    return Answer(well_formed=not problems, problems=problems, count=int(found[0]))
