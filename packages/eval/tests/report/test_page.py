import dataclasses
import re

import pytest
from PIL import Image

from vision_r1_data import Answer, Objects
from vision_r1_eval import Monitors, Panel, Report, Scene, Series, evaluate, write_report


@pytest.fixture
def small_report(make_sample, make_answer):
    metrics = evaluate([make_sample(((0, 0, 9, 9), "cat"))], [make_answer()])
    return Report("title", "subtitle", "protocol", metrics, metrics)


def write(path, report):
    write_report(path, report)
    return path.read_text(encoding="utf-8")


def test_needs_nothing_from_outside(tmp_path, example_report):
    page = write(tmp_path / "report.html", example_report)
    addresses = set(re.findall(r"https?://[^\"'\s<&]*", page))
    assert addresses == {"http://www.w3.org/2000/svg"}
    for source in re.findall(r"(?:src|href)=\"([^\"]*)\"", page):
        assert source.startswith(("data:image/", "#"))
    assert "@import" not in page
    assert "url(" not in page.replace("url(#hatch-", "")


def test_shows_everything(tmp_path, example_report):
    page = write(tmp_path / "report.html", example_report)
    assert page.count('<article class="scene"') == len(example_report.gallery) == 24
    for scene in example_report.gallery:
        assert f"<h3>{scene.id}</h3>" in page
    for panel in (*example_report.curves, *example_report.monitors.panels):
        assert f'aria-label="{panel.title}' in page
    for name, value in example_report.facts:
        assert f"<dt>{name}</dt><dd>{value}</dd>" in page
    for key in example_report.before.as_dict():
        assert f">{key}</th>" in page
    assert example_report.protocol in page


def test_everything_given_is_text(tmp_path, small_report):
    evil = "<script>alert('$title ${x}')</script>\udc80"
    answer = Answer(((0, 0, 9, 9),), (evil,))
    scene = Scene(Image.new("RGB", (9, 9)), evil, Objects(), answer, answer, evil, evil)
    report = dataclasses.replace(
        small_report,
        title=evil,
        subtitle=evil,
        protocol=evil,
        monitors=Monitors(evil, evil, [(evil, evil)], [Panel(evil, evil, [])]),
        curves=[Panel(evil, evil, [Series(evil, [(0, 1)])], evil)],
        gallery=[scene],
        facts=[(evil, evil)],
    )
    page = write(tmp_path / "report.html", report)
    assert page.count("<script") == 1
    assert "alert(&#x27;$title ${x}&#x27;)" in page


def test_parts_that_are_empty_are_left_out(tmp_path, small_report):
    page = write(tmp_path / "report.html", small_report)
    for heading in ("Signs of a gamed reward", "Curves", "Scenes", "About this run"):
        assert f"<h2>{heading}</h2>" not in page


@pytest.mark.parametrize(
    ("alarms", "kind"), [([], "good"), ([("duplicates", "from step 7 on")], "bad")], ids=["none", "one"]
)
def test_alarms_are_said_and_marked(tmp_path, small_report, alarms, kind):
    panels = [Panel(name, "step", [], marked=[(7, 9)], small=True) for name, _ in alarms]
    monitors = Monitors("A verdict", "", alarms, [*panels, Panel("calm", "step", [])])
    page = write(tmp_path / "report.html", dataclasses.replace(small_report, monitors=monitors))
    assert f'<div class="verdict {kind}"><p>A verdict</p>' in page
    assert page.count('class="panel small alarmed"') == len(alarms)
    assert page.count('class="panel"') == 1
    for name, when in alarms:
        assert f"<li><strong>{name}</strong> {when}</li>" in page


def test_numbers_that_are_not_defined_are_dashes(tmp_path, make_sample, make_answer):
    metrics = evaluate([make_sample()], [make_answer()])
    assert "nan" not in write(tmp_path / "report.html", Report("t", "s", "p", metrics, metrics))


def test_appears_whole_or_not_at_all(tmp_path, small_report):
    path = tmp_path / "report.html"
    path.write_text("old", encoding="utf-8")
    answer = Answer()
    broken = [Scene(tmp_path / "missing.png", "1", Objects(), answer, answer)]
    with pytest.raises(OSError, match="missing"):
        write_report(path, dataclasses.replace(small_report, gallery=broken))
    assert path.read_text(encoding="utf-8") == "old"
    write_report(str(path), small_report)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
