"""Every relative link and every file that the documentation names exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    path for pattern in ("README.md", "docs/**/*.md", "packages/*/README.md") for path in ROOT.glob(pattern)
]
# [text](target), ![text](target), <img src="target"> and <a href="target">
LINK = re.compile(r"\]\(([^()\s]+)(?: [^()]*)?\)|(?:src|href)=\"([^\"]+)\"")
# `packages/ops/README.md`, but no pattern such as `packages/*/src`
FILE = re.compile(r"`((?:packages|docs|benchmarks|tests|\.ci)/[\w./-]+)`")
FENCE = re.compile(r"^(`{3,}).*?^\1`*$", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names of a page's headings as a link's fragment spells them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_ends(page: Path, root: Path) -> list[str]:
    """The links and file names of a page that lead nowhere."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    dead = []
    for target in (first or second for first, second in LINK.findall(text)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, fragment = target.partition("#")
        goal = page.parent / path if path else page
        if not goal.exists() or (fragment and goal.suffix == ".md" and fragment not in anchors(goal)):
            dead.append(target)
    return dead + [name for name in FILE.findall(text) if not (root / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=[str(path.relative_to(ROOT)) for path in PAGES])
def test_nothing_leads_nowhere(page: Path) -> None:
    assert dead_ends(page, ROOT) == []


def test_dead_ends_are_found(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "here.md").write_text("# A `good` day, 2")
    page = tmp_path / "page.md"
    page.write_text(
        '# Top\n[a](docs/here.md) [b](docs/none.md "t") ![c](none.png) <img src="none.svg">\n'
        "[d](docs/here.md#a-good-day-2) [e](docs/here.md#bad) [f](#top) [g](#none) [h](https://example.org/x)\n"
        "`docs/here.md` `docs/gone.md` `docs/*.md`\n```text\n[i](in/code.md)\n```\n"
    )
    assert dead_ends(page, tmp_path) == [
        "docs/none.md",
        "none.png",
        "none.svg",
        "docs/here.md#bad",
        "#none",
        "docs/gone.md",
    ]
