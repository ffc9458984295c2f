"""The styles and the script of a page, which lie beside the code."""

from functools import cache
from importlib.resources import files


@cache
def read_file(name: str) -> str:
    """The text of a file of this package."""
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
