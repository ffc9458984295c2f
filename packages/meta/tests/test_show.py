"""A data set to look at: what is counted, which samples are shown, and the page in a real browser."""

import base64
import html
import io
import json
import random
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image

from photographs import content, write_photographs
from vision_r1.show import Statistics, write_gallery
from vision_r1.show.streams import Distinct, Frequent, Histogram, Reservoir
from vision_r1_data import DataError, Faults, Objects, Sample

NAMES = ("chromium", "chromium-browser", "google-chrome")
BROWSER = next(filter(None, map(shutil.which, NAMES)), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(NAMES)} is installed"
)


def png(width=64, height=48):
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((width, height)).save(buffer, "PNG")
    return buffer.getvalue()


def make(id, *objects, width=64, height=48, **rest):
    """A sample from (box, label) pairs, or (box, label, True) for a crowd."""
    boxes, labels = tuple(o[0] for o in objects), tuple(o[1] for o in objects)
    found = Objects(boxes, labels, tuple(len(o) > 2 for o in objects))
    return Sample(id, rest.pop("image", png(width, height)), width, height, objects=found, **rest)


def counted(samples):
    statistics = Statistics()
    for sample in samples:
        statistics.add(sample)
    return statistics


def bars(histogram):
    return {name: count for name, count in histogram.bars() if count}


# Streams


@pytest.mark.parametrize(
    ("value", "name"), [(-1, "low"), (9.99, "low"), (10, "middle"), (99, "middle"), (100, "high")]
)
def test_a_value_on_an_edge_is_in_the_bin_above(value, name):
    histogram = Histogram(("low", "middle", "high"), (10, 100))
    histogram.add(value)
    assert bars(histogram) == {name: 1}
    assert histogram.name(value) == name


def chosen(n, most, seed):
    reservoir = Reservoir(most, seed)
    for value in range(n):
        reservoir.add(value)
    return reservoir.chosen()


def test_the_same_seed_chooses_the_same():
    assert chosen(1000, 10, 3) == chosen(1000, 10, 3) == sorted(chosen(1000, 10, 3))
    assert chosen(1000, 10, 3) != chosen(1000, 10, 4)
    assert chosen(4, 10, 0) == [0, 1, 2, 3]
    assert chosen(4, 0, 0) == []


def test_each_has_the_same_chance():
    counts = [0] * 10
    for seed in range(3000):
        for value in chosen(10, 3, seed):
            counts[value] += 1
    assert sum(counts) == 9000
    assert all(abs(count - 900) < 5 * (3000 * 0.3 * 0.7) ** 0.5 for count in counts)


def test_distinct_texts_are_exact_until_there_is_no_more_room():
    names = Distinct(room=1000)
    for n in (*range(1000), *range(1000)):
        names.add(str(n))
    assert (names.count, names.exact, str(names)) == (1000, True, "1,000")
    for n in range(50_000):
        names.add(str(n))
    assert not names.exact
    assert abs(names.count - 50_000) < 5 * 50_000 / 1000**0.5
    assert re.fullmatch(r"about \d\d,\d00", str(names))


def test_frequent_values_stay_when_the_rare_are_forgotten():
    labels: Frequent[str] = Frequent(room=2)
    for label in ("a", "b", "a", "c", "d", "b", "a"):
        labels.add(label)
    assert (labels.most_common(9), labels.missed) == ([("a", 3), ("b", 2), ("c", 1), ("d", 1)], 0)
    labels.add("e")
    assert (labels.most_common(9), labels.missed) == ([("a", 3), ("b", 2)], 1)


def test_a_frequent_value_is_missed_by_no_more_than_is_said():
    rng, labels, truth = random.Random(0), Frequent[int](room=20), [0] * 400
    for _ in range(20_000):
        value = min(int(rng.paretovariate(0.6)), 399)
        truth[value] += 1
        labels.add(value)
    for value, count in labels.most_common(20):
        assert truth[value] - labels.missed <= count <= truth[value]
    assert labels.missed < max(truth) / 10


# Statistics


SAMPLES = [
    # 10 x 20 is small, 40 x 40 is medium, a crowd counts for nothing but itself
    make(
        "1",
        ((0, 0, 10, 20), "cat"),
        ((0, 0, 40, 40), "dog"),
        ((0, 0, 600, 400), "cat", True),
        width=640,
        height=480,
        source="a",
        stratum="easy",
        image_id="coco:1",
        pass_rate=0.0,
    ),
    make("2", ((0, 0, 96, 96), "cat"), width=100, height=100, source="a", stratum="easy", image_id="coco:1"),
    make("3", width=300, height=400, source="b", stratum="none", image_id="coco:3", pass_rate=1.0),
    make("4", ((0, 0, 30, 30), "cat", True), source="b", task="counting", image="4.png", pass_rate=0.3),
    make("5", ((5, 5, 5, 5), "tip"), *[((0, 0, 64, 8), "dog")] * 20, source="b", task="pointing"),
]


def test_statistics_of_a_set_counted_by_hand():
    statistics = counted(SAMPLES)
    assert (statistics.samples, statistics.objects, statistics.crowd) == (5, 24, 2)
    assert (statistics.negatives, statistics.flat) == (1, 1)
    assert (statistics.images.count, statistics.images.exact) == (4, True)
    assert statistics.label_names.count == 3
    assert statistics.labels.most_common(9) == [("dog", 21), ("cat", 2), ("tip", 1)]
    assert bars(statistics.instances) == {"0": 2, "1": 1, "2-5": 1, ">20": 1}
    assert bars(statistics.box_sizes) == {"small": 21, "medium": 1, "large": 1}
    # sqrt(200 / 307200) = 2.6%, sqrt(1600 / 307200) = 7.2%, 96%, sqrt(512 / 3072) = 41%
    assert bars(statistics.box_shares) == {"2-4": 1, "4-8": 1, ">64": 1, "32-64": 20}
    assert bars(statistics.aspects) == {"1:2": 1, "1:1": 2, ">6:1": 20}
    assert bars(statistics.image_sizes) == {"<256": 3, "256": 1, "512": 1}
    assert bars(statistics.orientations) == {"landscape": 3, "square": 1, "portrait": 1}
    assert bars(statistics.pass_rates) == {"0": 1, "<.4": 1, "1": 1}


def test_groups_of_a_set_counted_by_hand():
    groups = counted(SAMPLES).groups
    assert {names: (g.samples, g.objects, g.negatives) for names, g in groups.items()} == {
        ("a", "detection", "easy"): (2, 3, 0),
        ("b", "detection", "none"): (1, 0, 1),
        ("b", "counting", ""): (1, 0, 0),
        ("b", "pointing", ""): (1, 21, 0),
    }


@pytest.mark.parametrize(
    ("rate", "name"), [(0, "0"), (1e-9, "<.1"), (0.1, "<.2"), (0.95, "<1"), (0.999, "<1"), (1, "1")]
)
def test_pass_rates_of_nothing_and_everything_stand_apart(rate, name):
    assert bars(counted([make("1", pass_rate=rate)]).pass_rates) == {name: 1}


# The page


def write(path, samples=SAMPLES, **options):
    write_gallery(samples, path, **{"title": "A set", **options})
    return path.read_text(encoding="utf-8")


def cards(page):
    return re.findall(r'<article class="card".*?</article>', page, flags=re.DOTALL)


def test_the_page_says_what_is_counted(tmp_path):
    page = write(tmp_path / "a.html", sections=["<section>mine</section>"])
    assert "<h1>A set</h1>" in page
    assert "All 5 samples are drawn below" in page
    assert "<h3>Objects</h3><p><strong>24</strong></p><small>and 2 crowd regions</small>" in page
    assert "<th>a</th><th>detection</th><th>easy</th><td>2</td><td>40%</td>" in page
    assert "<title>&gt;20: 1 (20%)</title>" in page
    assert "1 without area are left out" in page
    assert "By sample: 1 portrait, 1 square, 3 landscape." in page
    assert page.index("dog</span><b>21</b>") < page.index("cat</span><b>2</b>")
    assert "<section>mine</section>" in page


def test_what_is_not_there_has_no_chart(tmp_path):
    page = write(tmp_path / "a.html", [make("1")])
    assert "Pass rates" not in page
    assert "Box areas" not in page
    assert "<h2>Labels</h2>" not in page


def test_a_set_without_samples(tmp_path):
    page = write(tmp_path / "a.html", [])
    assert "All 0 samples" in page
    assert "<h2>Samples</h2>" not in page


def test_many_labels_and_groups_are_summed_up(tmp_path):
    samples = [make(str(n), ((0, 0, 9, 9), f"label {n}"), source=f"source {n:02}") for n in range(50)]
    page = write(tmp_path / "a.html", samples, most=0)
    assert "20 objects have other labels; there are 50." in page
    assert "10 smaller groups with 10 samples are not listed." in page


def test_the_same_seed_writes_the_same_page(tmp_path):
    samples = [make(str(n), ((0, 0, 9, 9), f"label {n % 7}")) for n in range(200)]
    first, again, other = (
        write(tmp_path / f"{place}.html", iter(samples), most=5, seed=seed)
        for place, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert "5 of 200 samples are drawn below, chosen at random with seed 1" in first
    assert len(cards(first)) == len(cards(other)) == 5
    assert cards(first) != cards(other)


def test_pictures_are_scaled_down_and_boxes_with_them(tmp_path):
    sample = make("1", ((100, 200, 900, 1000), "cat"), width=2000, height=1000)
    (card,) = cards(write(tmp_path / "a.html", [sample]))
    assert 'viewBox="0 0 2000 1000"' in card
    assert '<rect class="box" x="100" y="200" width="800" height="800">' in card
    picture = re.search(r'href="data:image/jpeg;base64,([^"]+)"', card)[1]
    assert Image.open(io.BytesIO(base64.b64decode(picture))).size == (640, 320)


def test_a_card_says_what_is_asked(tmp_path):
    many = tuple(f"name {n}" for n in range(9))
    samples = [
        make("1", ((0, 0, 9, 9), "name 3"), categories=many, image_id="coco:7", pass_rate=0.25),
        make("2", ((0, 0, 9, 9), "the cat"), task="rec", query="Where is the cat?", categories=("the cat",)),
        make("3", task="ocr"),
    ]
    listed, asked, everything = cards(write(tmp_path / "a.html", samples))
    assert "<summary>detection of 9 categories, 1 here</summary>" in listed
    assert "name 2, <b>name 3</b>, name 4" in listed
    assert "pass rate 0.25" in listed
    assert "coco:7" in listed
    assert '<p class="query">Where is the cat?</p>' in asked
    assert '<p class="categories">rec: <b>the cat</b></p>' in asked
    assert "nothing to find" in everything
    assert "ocr: everything" in everything


def test_crowds_points_and_outlines_are_drawn(tmp_path):
    objects = Objects(
        ((0, 0, 60, 40), (5, 5, 5, 5), (9, 9, 30, 30), (1, 1, 2, 2)),
        ("cat",) * 4,
        (True, False, False, False),
        (None, None, [[9, 9, 30, 9, 30, 30.5]], {"size": [48, 64], "counts": [3072]}),
    )
    (card,) = cards(write(tmp_path / "a.html", [Sample("1", png(), 64, 48, objects=objects)]))
    assert card.count('class="crowd"') == card.count('class="point"') == card.count("<polygon") == 1
    assert card.count('<rect class="box"') == 2
    assert '<polygon points="9 9 30 9 30 30.5">' in card
    assert "<title>crowd: cat, 60 \N{MULTIPLICATION SIGN} 40 pixels</title>" in card


def test_small_boxes_lie_above_large_ones(tmp_path):
    sample = make("1", ((5, 5, 9, 9), "pip"), ((0, 0, 64, 48), "table"), ((2, 2, 30, 30), "dice"))
    (card,) = cards(write(tmp_path / "a.html", [sample]))
    assert re.findall(r"<title>(\w+), ", card) == ["table", "dice", "pip"]


def test_a_card_says_how_many_of_its_objects_are_drawn(tmp_path):
    boxes = [((n, 0, n + 1, 1), "dot") for n in range(301)]
    nowhere = [((0, 0, float("nan"), 1), "dot"), ((0, 0, 1, 1), "dot")]
    many, broken = cards(write(tmp_path / "a.html", [make("1", *boxes), make("2", *nowhere)]))
    assert "300 of 301 objects are drawn" in many
    assert many.count('class="box"') == 300
    assert "1 of 2 objects are drawn" in broken
    assert 'class="name"' not in many


def test_many_labels_of_a_card_are_folded(tmp_path):
    samples = [make(str(n), *[((0, 0, 9, 9), f"label {k}") for k in range(n)]) for n in (7, 8)]
    seven, eight = cards(write(tmp_path / "a.html", samples))
    assert "more labels" not in seven
    assert "<summary>2 more labels</summary>" in eight
    assert (seven.count('class="chip"'), eight.count('class="chip"')) == (7, 8)


def test_an_image_that_cannot_be_loaded_is_said_on_its_card(tmp_path):
    (tmp_path / "bad.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    good, box = make("good", ((0, 0, 9, 9), "cat")), ((1, 2, 11, 12), "cat")
    bad = [
        make("missing", box, image=tmp_path / "none.jpg"),
        make("damaged", box, image=tmp_path / "bad.jpg"),
        Sample("larger", png(10, 10), 64, 48),
    ]
    fine, *rest = cards(write(tmp_path / "a.html", [good, *bad]))
    assert 'class="problem"' not in fine
    assert all(card.count('<p class="problem">') == 1 and "<image" not in card for card in rest)
    missing, damaged, larger = rest
    assert f"{tmp_path / 'none.jpg'}: cannot be read as an image" in missing
    assert f"{tmp_path / 'bad.jpg'}: cannot be read as an image" in damaged
    assert "is 10x10 pixels but its annotation says 64x48" in larger
    assert '<rect class="box" x="1" y="2" width="10" height="10">' in missing


def test_only_what_is_shown_is_loaded(tmp_path):
    samples = [make(str(n), image=tmp_path / f"{n}.png") for n in range(20)]
    (tmp_path / "3.png").write_bytes(png())
    page = write(tmp_path / "a.html", samples, most=4)
    assert page.count("cannot be read as an image") + page.count("<image") == 4


EVIL = "<script>document.documentElement.dataset.evil = 1</script>\"' onclick='alert(1)' $title \udc80"


@pytest.fixture
def evil_page(tmp_path):
    samples = [
        make("1", ((0, 0, 9, 9), EVIL), categories=(EVIL,) * 9, query=EVIL, source=EVIL, stratum=EVIL),
        make(EVIL, ((0, 0, 9, 9), "cat"), image=tmp_path / EVIL.replace("/", "").replace("\udc80", "")),
    ]
    faults = Faults(skip=True)
    faults.add(EVIL, EVIL)
    write(tmp_path / "a.html", samples, title=EVIL, faults=faults)
    return tmp_path / "a.html"


def test_everything_given_is_text(evil_page):
    page = evil_page.read_text(encoding="utf-8")
    assert page.count("<script") == 1
    assert not re.search(r"<[^>]*\sonclick=", re.sub(r'"[^"]*"', '""', page))
    assert "&lt;script&gt;document" in page


def test_the_page_needs_nothing_from_outside(tmp_path):
    page = write(tmp_path / "a.html")
    assert not re.findall(r"https?://", page)
    for source in re.findall(r"(?:src|href)=\"([^\"]*)\"", page):
        assert source.startswith("data:image/")
    assert "@import" not in page
    assert "url(" not in page


def test_appears_whole_or_not_at_all(tmp_path):
    def torn():
        yield SAMPLES[0]
        raise DataError("torn")

    (tmp_path / "a.html").write_text("old")
    with pytest.raises(DataError, match="torn"):
        write(tmp_path / "a.html", torn())
    assert (tmp_path / "a.html").read_text() == "old"
    write(tmp_path / "a.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
    with pytest.raises(ValueError, match="most must be at least 0, got -1"):
        write(tmp_path / "a.html", most=-1)


# In a browser


def opened(path, profile, script=""):
    """The document after its script ran, and then one of the test's."""
    page = path
    if script:
        # The page forbids scripts that are not its own, so the test's needs that rule gone.
        markup = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", path.read_text("utf-8"))
        page = path.with_name(f"scripted-{path.name}")
        page.write_text(markup.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    quiet = ["--disable-gpu", "--disable-quic", "--disable-sync", "--disable-background-networking"]
    options = ["--headless", "--no-sandbox", *quiet, "--disable-component-update", "--no-first-run"]
    done = subprocess.run(
        [BROWSER, *options, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    root = re.search(r"<html[^>]*>", done.stdout)[0]
    assert 'data-ready="true"' in root
    assert "data-error" not in root
    return root, done.stdout


ASK = """
const found = {};
const shown = () => [...document.querySelectorAll(".cards .card")].filter((card) => !card.hidden)
  .map((card) => card.querySelector(".id").textContent);
const pick = (kind) => document.querySelector(`#finder [value="${kind}"]`).click();
const set = (name, value) => {
  const field = document.querySelector(`#finder [name=${name}]`);
  field.value = value;
  field.dispatchEvent(new Event("input", {bubbles: true}));
};
const boxes = (at) => [...at.querySelectorAll(".stage g")].map((g) => getComputedStyle(g).display !== "none");
const box = document.getElementById("lightbox");
const there = () => box.open && box.querySelector(".id").textContent;
"""
TELL = "document.documentElement.dataset.found = JSON.stringify(found);"


def answers(path, profile, script):
    root, _ = opened(path, profile, ASK + script + TELL)
    return json.loads(html.unescape(re.search(r'data-found="([^"]*)"', root)[1]))


@needs_browser
def test_filters(tmp_path):
    write(tmp_path / "a.html")
    found = answers(
        tmp_path / "a.html",
        tmp_path / "profile",
        """
        found.all = shown();
        pick("negative"); found.negative = shown();
        pick("0"); found.crowd = shown();
        pick("2-5"); found.few = shown();
        document.querySelector("#finder [name=kind]").click();
        set("source", "=b"); found.source = shown();
        set("task", "=pointing"); found.task = shown();
        set("task", ""); set("stratum", "="); found.stratum = shown();
        set("source", ""); set("stratum", "");
        set("find", "DOG"); found.label = shown();
        set("find", "coco:1 dog"); found.words = shown();
        found.count = document.querySelector("#finder output").textContent;
        set("find", "zebra"); found.nothing = shown();
        found.said = !document.getElementById("none").hidden;
        document.querySelector("#finder [type=reset]").click();
        """,
    )
    assert found == {
        "all": ["1", "2", "3", "4", "5"],
        "negative": ["3"],
        "crowd": ["4"],
        "few": ["1"],
        "source": ["3", "4", "5"],
        "task": ["5"],
        "stratum": ["4", "5"],
        "label": ["1", "5"],
        "words": ["1"],
        "count": "1 of 5",
        "nothing": [],
        "said": True,
    }


@needs_browser
def test_a_label_is_switched_off_and_a_card_enlarged(tmp_path):
    write(tmp_path / "a.html", [SAMPLES[0], SAMPLES[2], SAMPLES[1]])
    found = answers(
        tmp_path / "a.html",
        tmp_path / "profile",
        """
        const [first, second] = document.querySelectorAll(".card");
        const chip = [...first.querySelectorAll(".chip")].find((chip) => chip.title === "cat");
        found.before = boxes(first);
        chip.querySelector("span").click(); found.off = boxes(first); found.other = boxes(second);
        chip.click(); found.on = boxes(first);
        first.querySelector(".open").click(); found.enlarged = there();
        box.querySelector(".next").click(); found.next = there();
        const press = (key) => box.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true}));
        press("ArrowRight"); found.right = there();
        press("ArrowRight"); found.around = there();
        press("ArrowLeft"); found.left = there();
        pick("1"); found.only = shown();
        box.querySelector(".next").click(); found.filtered = there();
        found.cards = box.querySelectorAll(".card").length;
        box.querySelector(".close").click(); found.closed = box.open;
        """,
    )
    assert found == {
        "before": [True] * 3,
        "off": [False, True, False],
        "other": [],
        "on": [True] * 3,
        "enlarged": "1",
        "next": "3",
        "right": "2",
        "around": "1",
        "left": "2",
        "only": ["2"],
        "filtered": "2",
        "cards": 1,
        "closed": False,
    }


@needs_browser
def test_the_page_opens_and_runs_no_script_but_its_own(evil_page, tmp_path):
    root, document = opened(evil_page, tmp_path / "profile")
    assert "data-evil" not in root
    assert "2 of 2</output>" in document
    evil_page.write_text(
        evil_page.read_text("utf-8").replace(
            "</body>", "<script>document.documentElement.dataset.injected = 1</script></body>"
        ),
        encoding="utf-8",
    )
    root, _ = opened(evil_page, tmp_path / "profile")
    assert "data-injected" not in root


@needs_browser
def test_a_page_without_samples_opens(tmp_path):
    write(tmp_path / "a.html", [])
    opened(tmp_path / "a.html", tmp_path / "profile")


# The command


def test_the_command_shows_photographs(command, photographs, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    out = tmp_path / "photographs.html"
    code, said, err = command(
        "data", "show", photographs, "--images", photographs.parent / "images", "--out", out
    )
    assert (code, err) == (0, "")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    assert lines == [
        "samples    5 of 5 different images",
        "negatives  0 (0%)",
        "objects    9, 1.8 in each; 0 crowd regions",
        "box areas  small 0%, medium 11%, large 89%",
        "labels     9: person (1), helmet (1), space shuttle (1), cat (1), cup (1)",
        "sources    instances.json detection: 5 (100%)",
        f"Open {out} to look at 5 of them.",
    ]
    page = out.read_text(encoding="utf-8")
    assert "<h1>instances.json</h1>" in page
    assert page.count("data:image/jpeg") == len(cards(page)) == 5
    assert "Left out" not in page


def test_the_page_is_named_after_the_set(command, photographs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = [photographs, "--images", photographs.parent / "images", "--most", 2, "--seed", 7]
    code, said, _ = command("data", "show", *arguments)
    assert code == 0
    assert "Open instances-gallery.html to look at 2 of them." in said
    assert "2 of 5 samples are drawn below, chosen at random with seed 7" in Path(
        "instances-gallery.html"
    ).read_text(encoding="utf-8")


@pytest.fixture
def broken(tmp_path):
    """A set of photographs whose box is outside and one of whose images is gone."""
    path = write_photographs(tmp_path / "set")
    annotations = content()["annotations"]
    annotations[0]["bbox"] = [400, 0, 200, 100]
    path.write_text(json.dumps(content() | {"annotations": annotations}))
    (path.parent / "images" / "coffee.png").unlink()
    return path


def test_what_is_bad_is_left_out_and_told(command, broken, tmp_path):
    out = tmp_path / "a.html"
    code, said, err = command("data", "show", broken, "--images", broken.parent / "images", "--out", out)
    assert (code, err) == (0, "")
    said = " ".join(said.split())
    assert "samples 4 of 4 different images" in said
    assert "2 left out (" in said
    page = out.read_text(encoding="utf-8")
    assert "Left out: bad_box 1, missing_image 1" in page
    assert "annotation 1 has bbox [400, 0, 200, 100]" in page
    assert "images[2]: there is no image" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["{set}"], "has its images elsewhere; give their folder with --images"),
        (["none"], "none: is not there; give a folder that curate wrote, or an annotation file"),
        (["{set}", "--images", "none"], "none: is not a folder; give the folder that holds the images"),
        (["none.json", "--images", "{images}"], "none.json: there is no such file; give the path of a COCO"),
        (["{images}"], "holds no stored samples; make them of a set of any format with vision-r1 curate"),
        (["{images}/rocket.jpg", "--images", "{images}"], "rocket.jpg: is not JSON"),
        (["{set}", "--images", "{folder}"], "has no sample that can be used: 5 left out (missing_image 5)"),
        (["{set}", "--images", "{images}", "--out", "none/a.html"], "there is no folder 'none'"),
        (["{set}", "--images", "{images}", "--out", "{folder}"], "is a folder; give the name of a page"),
    ],
)
def test_bad_input(command, photographs, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    places = {"set": photographs, "images": photographs.parent / "images", "folder": tmp_path}
    code, out, err = command("data", "show", *(argument.format(**places) for argument in arguments))
    assert (code, out) == (2, "")
    assert err.startswith("vision-r1: ")
    assert err.count("\n") == 1
    assert words in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [[], ["hide"], ["show"], ["show", "a.json", "--most", "0"]])
def test_bad_arguments(command, capsys, arguments):
    with pytest.raises(SystemExit) as stopped:
        command("data", *arguments)
    assert stopped.value.code == 2
    assert "vision-r1 data" in capsys.readouterr().err
