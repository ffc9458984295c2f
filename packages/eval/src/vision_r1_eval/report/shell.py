"""What all pages share: their head, headline, styles and script, in one file that appears whole."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from string import Template

from vision_r1_eval.report.files import read_file
from vision_r1_eval.report.markup import text


def html_page(
    title: str, subtitle: str, *main: str, styles: Sequence[str] = (), scripts: Sequence[str] = ()
) -> str:
    """A page that needs nothing else: no network, no file beside it. It runs no script but its own.

    Args:
        title: the headline, as text.
        subtitle: a sentence below it, as text.
        main: the sections, as markup.
        styles: CSS that follows that of all pages.
        scripts: JavaScript that follows that of all pages.

    Example:
        >>> page = html_page("Cats & dogs", "Two of each.", "<section>...</section>")
        >>> "<h1>Cats &amp; dogs</h1>" in page, "default-src 'none'" in page
        (True, True)
    """
    script = "".join((read_file("script.js"), *scripts))
    return Template(read_file("shell.html")).substitute(
        title=text(title),
        subtitle=text(subtitle),
        main="\n".join(filter(None, main)),
        style="".join((*map(read_file, ("theme.css", "panel.css", "style.css")), *styles)),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def write_whole(path: Path, content: str) -> None:
    """Write a file that appears whole or not at all: under a temporary name first, then renamed.

    Args:
        path: replaced if it exists.
        content: text; what UTF-8 has no bytes for, as text of a model may hold, becomes question marks.

    Raises:
        OSError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(content.encode("utf-8", errors="replace"))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
