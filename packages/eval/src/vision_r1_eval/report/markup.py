"""Tags and escaping: every text that a page shows passes through here."""

from __future__ import annotations

import html

_VOID = frozenset({"br", "img", "input"})  # elements of HTML that have no end tag


def text(value: object) -> str:
    """The value as text that is safe inside a tag."""
    return html.escape(str(value))


def tag(name: str, /, *content: str, **attributes: object) -> str:
    """An element around markup; attributes are escaped, content is not.

    Args:
        name: of the element.
        content: markup; text goes through `text` first.
        attributes: `class_` is written class, `stroke_width` stroke-width; None leaves an attribute out.

    Example:
        >>> tag("b", text("<3"), class_="big", hidden=None)
        '<b class="big">&lt;3</b>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    end = "" if name in _VOID else f"</{name}>"
    return f"<{name}{written}>{''.join(content)}{end}"


def _value(value: object) -> str:
    """Floats short: a hundredth of a pixel is enough."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return html.escape(str(value))
