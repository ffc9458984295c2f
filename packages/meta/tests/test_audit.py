import json
import re
import shutil
import subprocess

import pytest

from vision_r1.audit import audit_page
from vision_r1_grpo.rewards.audit import audit, load_score

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)

TRL = """
def fond_of_words(prompts, completions, solution, **kwargs):
    return [float("cat" in text) for text in completions]

def fond_of_talk(prompts, completions, **kwargs):
    return [float(len(talk[0]["content"])) for talk in completions]

def loose(a, b):
    return 0

def broken(completions, targets):
    raise KeyError("bbox")
"""

UNSCALED = """
from dataclasses import replace
from vision_r1_data import Frame
from vision_r1_grpo import VisionReward

REWARD = VisionReward.from_preset("strict", "qwen2_5_vl")

def pixels(completions, targets):
    frames = [Frame(t.frame.width, t.frame.height, t.frame.width, t.frame.height) for t in targets]
    targets = [replace(target, frame=frame) for target, frame in zip(targets, frames)]
    return REWARD(completions, targets, progress=0.0).total
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(TRL)
    return path


def lines(out, name):
    return next(line.split() for line in out.splitlines() if line.strip().startswith(name))


def test_strict_is_the_default_and_has_no_hole(command):
    code, out, err = command("audit", "--scenes", 20)
    assert (code, err) == (0, "")
    assert "Reward audit: strict (detection), 20 scenes, seed 0, qwen2_5_vl" in out
    assert "No hole: none of 24 exploits" in out
    assert lines(out, "duplicate boxes")[-1] == "loses"


def test_paper_has_holes(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "130")
    code, out, err = command("audit", "paper", "--scenes", 40, "--seed", 1)
    assert (code, err) == (1, "")
    assert lines(out, "wrong labels")[-2:] == ["100%", "wins"]
    assert "Draws every object to the pixel, under another label." in out
    assert re.search(r"\d of 24 exploits earn what they should not; --html FILE shows where\.", out)


def test_another_task(command):
    code, out, err = command("audit", "counting", "--scenes", 20)
    assert (code, err) == (0, "")
    assert "Reward audit: counting, 20 scenes, seed 0, qwen2_5_vl" in out
    assert lines(out, "range of counts")[-1] == "loses"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pointing", "--task", "ocr"], "preset 'pointing' scores pointing, not ocr; leave --task out"),
        (["--task", "point"], "unknown task 'point'; known are detection, grounding"),
    ],
)
def test_a_task_that_does_not_fit(command, arguments, message):
    code, out, err = command("audit", *arguments)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_a_page_of_points(tmp_path, command, file):
    command(
        "audit", f"{file}:fond_of_words", "--task", "pointing", "--scenes", 5, "--html", tmp_path / "a.html"
    )
    page = (tmp_path / "a.html").read_text()
    assert "Task pointing, 5 random scenes" in page
    assert "objects are dashed" in page


def test_a_page_of_numbers_shows_what_is_there(tmp_path, command):
    (tmp_path / "flat.py").write_text("def flat(completions, targets):\n    return [1] * len(completions)\n")
    place = f"{tmp_path / 'flat.py'}:flat"
    command("audit", place, "--task", "counting", "--scenes", 5, "--html", tmp_path / "a.html")
    page = (tmp_path / "a.html").read_text()
    assert 'class="object"' in page
    assert 'class="missed"' not in page


def test_a_page_of_counts_draws_what_is_there(tmp_path, command, file):
    command(
        "audit", f"{file}:fond_of_words", "--task", "counting", "--scenes", 5, "--html", tmp_path / "a.html"
    )
    page = (tmp_path / "a.html").read_text()
    assert 'class="right"' in page
    assert "<title>missed" not in page


def test_a_narrow_table_has_a_line_for_each_exploit(command, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = command("audit", "--scenes", 5)
    assert max(map(len, out.splitlines())) <= 80
    assert len(re.findall(r" (loses|holds|free|wins)\s*$", out, flags=re.MULTILINE)) == 24


def test_a_reward_of_ones_own(command, file):
    code, out, _ = command("audit", f"{file}:fond_of_words", "--scenes", 10, "--no-resize")
    assert code == 1
    assert lines(out, "junk boxes")[-1] in ("free", "wins")


def test_a_reward_that_does_not_scale_boxes(command, tmp_path):
    (tmp_path / "mine.py").write_text(UNSCALED)
    page = tmp_path / "a.html"
    _, out, _ = command("audit", f"{tmp_path / 'mine.py'}:pixels", "--scenes", 20, "--html", page)
    assert "gives more for boxes in pixels of the original image" in " ".join(out.split())
    assert "gives more for boxes in pixels of the original image" in page.read_text()
    _, out, _ = command("audit", f"{tmp_path / 'mine.py'}:pixels", "--scenes", 20, "--no-resize")
    assert "in pixels of the original image" not in " ".join(out.split())


def test_conversations(command, file):
    code, out, _ = command("audit", f"{file}:fond_of_talk", "--chat", "--scenes", 10)
    assert code == 1
    assert lines(out, "extra text")[-1] == "wins"


def test_a_reward_that_sees_nothing(command, tmp_path):
    (tmp_path / "flat.py").write_text("def flat(completions, targets):\n    return [1] * len(completions)\n")
    code, out, _ = command("audit", f"{tmp_path / 'flat.py'}:flat", "--scenes", 5)
    assert code == 1
    assert "Is detection its task (--task)" in " ".join(out.split())


def test_the_findings_as_json(command, tmp_path):
    path = tmp_path / "audit.json"
    _, out, _ = command("audit", "paper", "--scenes", 20, "--json", path)
    found = json.loads(path.read_text())
    assert found["reward"] == "paper"
    assert "wrong labels" in found["holes"]
    by_name = {finding["name"]: finding for finding in found["findings"]}
    assert f"{by_name['silence']['score']:.3f}" == lines(out, "silence")[1]
    worst = by_name["wrong labels"]["worst"]
    assert worst["exploit"].startswith("```json")
    assert worst["target"]["boxes"]
    assert worst["exploit_score"] > worst["honest_score"]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "audit.html"
    found = audit(load_score("paper", "qwen2_5_vl"), "qwen2_5_vl", scenes=40)
    path.write_text(audit_page(found, "paper <script>alert(1)</script>"), encoding="utf-8")
    return path


def test_the_page_shows_every_hole(page):
    markup = page.read_text(encoding="utf-8")
    found = audit(load_score("paper", "qwen2_5_vl"), "qwen2_5_vl", scenes=40)
    assert markup.count('<article class="scene"') == len(found.holes)
    assert markup.count("<figure>") == markup.count("<pre>") == 2 * len(found.holes)
    for hole in found.holes:
        assert f'id="{hole.name.replace(" ", "-")}"' in markup
    assert len(re.findall(r'class="verdict \w+"', markup)) == len(found.findings)


def test_the_page_needs_nothing_and_runs_nothing_else(page):
    markup = page.read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\"'\s<&]*", markup)) <= {"http://www.w3.org/2000/svg"}
    assert markup.count("<script") == 1
    assert "alert(1)" in markup
    ids = re.findall(r' id="([^"]+)"', markup)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", markup)) <= set(ids)


def test_a_page_without_holes(command, tmp_path):
    path = tmp_path / "strict.html"
    code, _, _ = command("audit", "--scenes", 5, "--html", path)
    assert code == 0
    assert "No hole" in path.read_text()
    assert "<h2>Holes</h2>" not in path.read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["strict.html"]


@pytest.mark.skipif(BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is installed")
def test_the_page_opens_in_a_browser(page, tmp_path):
    quiet = ["--disable-gpu", "--disable-quic", "--disable-sync", "--disable-background-networking"]
    options = ["--headless", "--no-sandbox", *quiet, "--disable-component-update", "--no-first-run"]
    done = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    root = re.search(r"<html[^>]*>", done.stdout)[0]
    assert 'data-ready="true"' in root
    assert "data-error" not in root


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["lenient"], "unknown reward preset 'lenient'"),
        (["{file}:loose"], "neither f(completions, targets) nor TRL's"),
        (["{file}:gone"], "has no function 'gone'"),
        (["nowhere.py:f"], "nowhere.py: there is no such file"),
        (["{file}:broken"], "fails on 'duplicate boxes' (KeyError: 'bbox'); it must score any text"),
        (["--dialect", "morse"], "unknown dialect 'morse'; known are"),
        (["--html", "{file}/none/page.html"], "there is no folder"),
        (["--scenes", "2", "--json", "{folder}"], "cannot be written (Is a directory)"),
    ],
)
def test_bad_input(command, file, arguments, words):
    given = [argument.format(file=file, folder=file.parent) for argument in arguments]
    code, _, err = command("audit", *given)
    assert code == 2
    assert err.startswith("vision-r1: ")
    assert err.count("\n") == 1
    assert words in err
    assert [path.name for path in file.parent.iterdir() if path.suffix != ""] == ["mine.py"]


@pytest.mark.parametrize("arguments", [["--scenes", "0"], ["--scenes", "many"], ["--signature", "other"]])
def test_bad_arguments(command, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        command("audit", *arguments)
    assert stopped.value.code == 2
    assert "vision-r1 audit: error: " in capsys.readouterr().err
