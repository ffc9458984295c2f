"""The page in a real browser: its script runs, filters and answers the pointer."""

import re
import shutil
import subprocess

import pytest

from vision_r1_eval import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is installed"
)

POINT_AT_THE_FIRST_CHART = """<script>
const chart = document.querySelector(".panels [data-plot]"), frame = chart.getBoundingClientRect();
chart.dispatchEvent(new PointerEvent("pointermove", {clientX: frame.left + frame.width / 2, clientY: 300}));
document.querySelector(".enlarge").click();
document.getElementById("theme").click();
</script>"""


@pytest.fixture
def page(tmp_path, example_report):
    path = tmp_path / "report.html"
    write_report(path, example_report)
    return path


def dom(path, profile, fragment=""):
    """The document after its script ran."""
    quiet = ["--disable-gpu", "--disable-quic", "--disable-sync", "--disable-background-networking"]
    command = [BROWSER, "--headless", "--no-sandbox", *quiet, "--disable-component-update", "--no-first-run"]
    result = subprocess.run(
        [*command, f"--user-data-dir={profile}", "--dump-dom", path.as_uri() + fragment],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return result.stdout


def root(document):
    return re.search(r"<html[^>]*>", document)[0]


def test_opens_on_the_scenes_that_a_link_asks_for(page, tmp_path):
    document = dom(page, tmp_path / "profile", "#better")
    assert 'data-ready="true"' in root(document)
    assert "data-error" not in root(document)
    scenes = re.findall(r'<article class="scene" data-change="(\w+)"( hidden="")?', document)
    assert len(scenes) == 24
    assert all((hidden == "") == (change == "better") for change, hidden in scenes)
    assert re.search(r'data-filter="better" aria-pressed="true"', document)


def test_answers_the_pointer_and_the_buttons(page, tmp_path):
    markup = page.read_text(encoding="utf-8")
    # The page forbids scripts that are not its own, so the test's needs that rule gone.
    markup = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", markup)
    page.write_text(markup.replace("</body>", POINT_AT_THE_FIRST_CHART + "</body>"), encoding="utf-8")
    document = dom(page, tmp_path / "profile")
    assert "data-error" not in root(document)
    assert re.search(r'data-theme="(light|dark)"', root(document))
    tip = re.search(r'<div id="tip".*?</b>(.*?)</div></div>', document)[0]
    assert re.search(r"<b>step 1\d\d</b>", tip)
    assert re.findall(r"<span>(recall|precision|format)</span><span>0?\.\d+</span>", tip) == [
        "recall",
        "precision",
        "format",
    ]
    assert 'class="scene large"' in document


def test_runs_no_script_but_its_own(page, tmp_path):
    markup = page.read_text(encoding="utf-8")
    injected = '<script>document.documentElement.dataset.injected = "true"</script>'
    page.write_text(markup.replace("</body>", injected + "</body>"), encoding="utf-8")
    document = dom(page, tmp_path / "profile")
    assert 'data-ready="true"' in root(document)
    assert "data-injected" not in root(document)
