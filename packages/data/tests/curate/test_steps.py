import importlib.util
import io
import math
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from vision_r1_data import DataError, Objects, Sample
from vision_r1_data.curate import (
    Agree,
    Ask,
    Budget,
    Clean,
    Context,
    Count,
    Dropped,
    Fingerprint,
    Rename,
    Strata,
    apply_steps,
    fingerprint,
)
from vision_r1_data.curate.steps import Steps

BOX = (5.0, 5.0, 15.0, 15.0)
SET = ("ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen", "ibis", "jay")
PHOTOGRAPHS = (
    "astronaut.png",
    "chelsea.png",
    "coffee.png",
    "motorcycle_left.png",
    "retina.jpg",
    "rocket.jpg",
)
# The EXIF orientation -> how the upright picture is stored.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def context() -> Context:
    return Context(random.Random(0))


def sample(*labels: str, id: str = "1", **fields) -> Sample:
    objects = Objects((BOX,) * len(labels), labels)
    return Sample(id, b"", 100, 80, **{"categories": SET, "objects": objects, "source": "set"} | fields)


def one(step, given: Sample, **options):
    """What a step makes of a sample, and the objects that it leaves out."""
    beside = context()
    return step(given, beside), +beside.objects


def dropped(step, given: Sample) -> str:
    outcome = step(given, context())
    assert isinstance(outcome, Dropped), "was kept"
    return outcome.reason


def picture(width: int, height: int, *, orientation: int = 1, format: str = "JPEG") -> bytes:
    """The bytes of a picture that is so wide and high when it is upright."""
    return stored(Image.linear_gradient("L").resize((width, height)).convert("RGB"), orientation, format)


def stored(upright: Image.Image, orientation: int, format: str = "JPEG", **options) -> bytes:
    turn, file, exif = STORED[orientation], io.BytesIO(), Image.Exif()
    exif[0x0112] = orientation
    image = upright if turn is None else upright.transpose(turn)
    image.save(file, format, exif=exif, **options)
    return file.getvalue()


# Rename


def test_rename_changes_every_column_at_once() -> None:
    given = sample("ant", "bee", "ant", not_exhaustive=("bee", "cat"))
    renamed, _ = one(Rename({"ant": "bee", "bee": "wasp"}), given)
    assert renamed.categories == ("bee", "wasp", *SET[2:])
    assert renamed.objects.labels == ("bee", "wasp", "bee")
    assert renamed.not_exhaustive == ("wasp", "cat")
    assert renamed.objects.boxes == given.objects.boxes


def test_rename_merges_two_labels_into_one() -> None:
    given = sample("dog", "ant", "bee", categories=("ant", "bee", "dog"), not_exhaustive=("ant", "bee"))
    renamed, _ = one(Rename({"ant": "insect", "bee": "insect"}), given)
    assert renamed.categories == ("insect", "dog")
    assert renamed.objects.labels == ("dog", "insect", "insect")
    assert renamed.not_exhaustive == ("insect",)


def test_rename_into_a_label_that_is_there() -> None:
    assert one(Rename({"ant": "bee"}), sample())[0].categories == SET[1:]


def test_rename_of_what_is_not_there_changes_nothing() -> None:
    assert one(Rename({"yak": "ox"}), sample("ant"))[0] == sample("ant")


# Clean


def objects(*rows) -> Sample:
    """A sample of 100 x 80 pixels with rows of box, label and crowd flag; masks are named by their row."""
    boxes, labels, crowd = zip(*rows, strict=True)
    return replace(
        sample(), objects=Objects(boxes, labels, crowd, tuple([[[float(k)] * 6] for k in range(len(rows))]))
    )


def test_clean_leaves_out_crowds_and_tiny_objects() -> None:
    given = objects(
        ((0, 0, 50, 50), "ant", True),
        ((0, 0, 1, 30), "bee", False),
        ((0, 0, 0.9, 30), "bee", False),
        ((0, 0, 30, 0.9), "cat", False),
        ((0, 0, 0.5, 0.5), "dog", True),
    )
    cleaned, lost = one(Clean(), replace(given, not_exhaustive=("elk", "cat")))
    assert cleaned.objects == Objects(((0, 0, 1, 30),), ("bee",), (False,), ([[1.0] * 6],))
    assert lost == {"crowd": 2, "tiny": 2}
    assert cleaned.not_exhaustive == ("elk", "cat", "ant", "bee", "dog")
    assert cleaned.categories == SET


def test_clean_without_crowds() -> None:
    given = objects(((0, 0, 50, 50), "ant", True), ((0, 0, 50, 50), "bee", False))
    assert one(Clean(crowd=False), given) == (given, {})


@pytest.mark.parametrize(
    ("box", "is_cut"),
    [
        ((1, 1, 99, 79), False),
        ((0.99, 1, 99, 79), True),
        ((1, 0.99, 99, 79), True),
        ((1, 1, 99.01, 79), True),
        ((1, 1, 99, 79.01), True),
        ((0, 0, 100, 80), True),
    ],
)
def test_clean_of_objects_at_the_edge(box, is_cut: bool) -> None:
    given = objects((box, "ant", False), ((40, 40, 60, 60), "bee", False))
    assert one(Clean(), given) == (given, {})
    cleaned, lost = one(Clean(cut=True), given)
    assert cleaned.objects.labels == (("bee",) if is_cut else ("ant", "bee"))
    assert cleaned.not_exhaustive == (("ant",) if is_cut else ())
    assert lost == ({"cut off": 1} if is_cut else {})


def test_clean_drops_what_has_no_object_left() -> None:
    given = objects(((0, 0, 50, 50), "ant", True), ((0, 0, 0.5, 30), "bee", False))
    assert one(Clean(), given) == (Dropped("no object left"), {"crowd": 1, "tiny": 1})


def test_clean_keeps_negatives_and_what_is_clean() -> None:
    for given in (sample(), sample("ant")):
        assert Clean(cut=True)(given, context()) is given


def test_what_clean_left_out_is_not_asked_for() -> None:
    given = objects(
        ((0, 0, 50, 50), "ant", True), ((5, 5, 50, 50), "ant", False), ((5, 5, 9, 9), "bee", False)
    )
    cleaned, _ = one(Clean(), given)
    assert one(Ask(), cleaned)[0].categories == ("bee",)


# Agree


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", STORED)
def test_agree_looks_at_the_upright_size(orientation: int, format: str) -> None:
    given = replace(sample(), image=picture(100, 80, orientation=orientation, format=format))
    assert Agree()(given, context()) is given
    assert given.load_image().size == (100, 80)
    sideways = replace(given, width=80, height=100)
    ignored = orientation > 4 and format != "TIFF"  # of which Pillow tells the upright size alone
    assert dropped(Agree(), sideways) == (
        "annotated without its EXIF orientation" if ignored else "image of another size"
    )


def test_agree_of_files(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(picture(100, 80))
    assert Agree()(replace(sample(), image=path), context()).image == path
    assert dropped(Agree(), replace(sample(), image=path, width=99)) == "image of another size"
    assert dropped(Agree(), replace(sample(), image=tmp_path / "2.jpg")) == "image unreadable"
    assert dropped(Agree(), replace(sample(), image=tmp_path)) == "image unreadable"


NO_PICTURES = {
    "empty": b"",
    "text": b"not a picture",
    "head of a JPEG": picture(100, 80)[:60],
    "head of a PNG": picture(100, 80, format="PNG")[:30],
}


@pytest.mark.parametrize("image", NO_PICTURES.values(), ids=NO_PICTURES)
def test_agree_of_what_is_no_picture(image: bytes) -> None:
    assert dropped(Agree(), replace(sample(), image=image)) == "image unreadable"
    assert dropped(Fingerprint(), replace(sample(), image=image)) == "image unreadable"


def test_a_file_that_is_cut_off_has_a_size_but_no_fingerprint() -> None:
    whole = picture(100, 80)
    given = replace(sample(), image=whole[: len(whole) - 200])
    assert Agree()(given, context()) is given
    assert dropped(Fingerprint(), given) == "image unreadable"


@pytest.mark.parametrize(
    ("size", "options", "reason"),
    [
        ((27, 40), {}, "image too small"),
        ((40, 27), {}, "image too small"),
        ((28, 28), {}, None),
        ((5, 5), {"least_side": 5}, None),
        ((201, 1), {"least_side": 1}, "image too long"),
        ((1, 201), {"least_side": 1}, "image too long"),
        ((200, 1), {"least_side": 1}, None),
        ((91, 30), {"most_aspect": 3}, "image too long"),
        ((90, 30), {"most_aspect": 3}, None),
    ],
)
def test_agree_of_small_and_long_images(size, options, reason: str | None) -> None:
    given = replace(sample(), image=picture(*size), width=size[0], height=size[1])
    outcome = Agree(**options)(given, context())
    assert outcome == (given if reason is None else Dropped(reason))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_are_left_out_and_never_raise() -> None:
    rng = random.Random(0)
    whole = [picture(48, 32, orientation=6, format=format) for format in ("JPEG", "PNG", "WEBP", "AVIF")]
    for _ in range(600):
        image = bytearray(rng.choice(whole))
        for _ in range(rng.choice([1, 3, 10])):
            image[rng.randrange(min(250, len(image)))] = rng.randrange(256)
        given = replace(sample(), image=bytes(image), width=48, height=32)
        for step in (Agree(), Fingerprint()):
            assert isinstance(step(given, context()), Sample | Dropped)


# Fingerprint


def photograph(name: str) -> Image.Image:
    package = importlib.util.find_spec("skimage")
    assert package is not None, "the tests need scikit-image for its photographs"
    return Image.open(Path(package.origin).parent / "data" / name).convert("RGB")


def look(image: Image.Image, orientation: int = 1, format: str = "JPEG", **options) -> int:
    return fingerprint(replace(sample(), image=stored(image, orientation, format, **options)))


@pytest.fixture(params=PHOTOGRAPHS)
def photo(request) -> Iterator[Image.Image]:
    with photograph(request.param) as image:
        yield image


def test_fingerprints_of_one_picture_lie_near(photo: Image.Image) -> None:
    first = look(photo, format="PNG")
    assert 0 <= first < 2**64
    assert look(photo, format="PNG") == first
    for quality in (95, 50, 10):
        assert (look(photo, quality=quality) ^ first).bit_count() <= 4
    for scale in (0.25, 0.5, 0.8, 2):
        other = photo.resize((int(photo.width * scale), int(photo.height * scale)))
        assert (look(other, quality=80) ^ first).bit_count() <= 4


def test_fingerprints_of_pictures_lie_apart() -> None:
    looks = [look(photograph(name)) for name in PHOTOGRAPHS]
    assert min((a ^ b).bit_count() for a, b in combinations(looks, 2)) > 10


@pytest.mark.parametrize("orientation", STORED)
def test_a_fingerprint_is_of_the_upright_picture(orientation: int) -> None:
    photo = photograph("coffee.png")
    assert (look(photo, orientation, quality=90) ^ look(photo, quality=90)).bit_count() <= 2
    large = photo.resize((photo.width * 3, photo.height * 3))  # of which a JPEG is decoded at a smaller scale
    assert (look(large, orientation) ^ look(photo)).bit_count() <= 2


def test_a_fingerprint_that_is_there_stays() -> None:
    given = sample(fingerprint=0)
    assert Fingerprint()(given, context()) is given


def test_fingerprint_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "1.jpg"
    path.write_bytes(picture(100, 80))
    in_file, in_memory = replace(sample(), image=path), replace(sample(), image=path.read_bytes())
    assert Fingerprint()(in_file, context()).fingerprint == fingerprint(in_memory)
    assert dropped(Fingerprint(), replace(sample(), image=tmp_path / "none.jpg")) == "image unreadable"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "1"])
def test_fingerprints_of_every_kind_of_picture(mode: str) -> None:
    file = io.BytesIO()
    photograph("coffee.png").convert("L").convert(mode).save(file, "TIFF" if mode == "CMYK" else "PNG")
    assert fingerprint(replace(sample(), image=file.getvalue())) > 0


# Ask


def ask(given: list[Sample], *steps, seed: int = 0) -> dict[str, Sample]:
    kept = apply_steps(given, steps, seed=seed, dropped=Counter(), objects=Counter())
    return {one.id: one for one in kept}


def many(*labels: str, count: int = 2000, **fields) -> list[Sample]:
    return [sample(*labels, id=str(k), **fields) for k in range(count)]


def test_ask_for_all_that_is_present_in_the_order_of_the_set() -> None:
    asked, lost = one(Ask(), sample("dog", "bee", "dog"))
    assert asked.categories == ("bee", "dog")
    assert asked.objects == sample("dog", "bee", "dog").objects
    assert lost == {}


def test_ask_for_absent_categories_as_many_as_drawn_evenly() -> None:
    counts = Counter()
    for asked in ask(many("dog", "bee"), Ask(least_absent=1, most_absent=3)).values():
        assert {"bee", "dog"} <= set(asked.categories)
        assert list(asked.categories) == sorted(asked.categories)
        counts[len(asked.categories) - 2] += 1
    assert sorted(counts) == [1, 2, 3]
    assert all(abs(count - 2000 / 3) < 4 * math.sqrt(2000 * 2 / 9) for count in counts.values())


def test_ask_for_each_absent_category_equally_often() -> None:
    asked = ask(many("dog"), Ask(least_absent=2, most_absent=2)).values()
    counts = Counter(label for one in asked for label in one.categories)
    assert counts.pop("dog") == 2000
    assert sorted(counts) == sorted(set(SET) - {"dog"})
    share = 2 / 9
    assert all(abs(n - 2000 * share) < 4 * math.sqrt(2000 * share * (1 - share)) for n in counts.values())


def test_ask_for_all_absent_categories_where_there_are_few() -> None:
    asked, _ = one(Ask(least_absent=5, most_absent=5), sample("ant", categories=("ant", "bee", "cat")))
    assert asked.categories == ("ant", "bee", "cat")


def test_the_choice_depends_on_seed_and_sample_alone() -> None:
    step = Ask(most_absent=5, negatives=0.3, most=4)
    given = many("dog", "bee", "cat", count=50)
    first = ask(given, step)
    assert ask(given[::-1], step) == first
    assert ask(given[20:22], step) == {id: first[id] for id in ("20", "21")}
    assert ask(given, step, seed=1) != first


def test_the_share_of_negatives() -> None:
    share = 0.3
    asked = ask(many("dog", "bee"), Ask(negatives=share, least_absent=1, most_absent=2)).values()
    negatives = [one for one in asked if not one.objects]
    assert abs(len(negatives) - 2000 * share) < 4 * math.sqrt(2000 * share * (1 - share))
    for negative in negatives:
        assert 1 <= len(negative.categories) <= 2
        assert not {"dog", "bee"} & set(negative.categories)
    for one in asked:
        assert len(one.objects) in (0, 2)


@pytest.mark.parametrize(("share", "negatives"), [(0.0, 0), (1.0, 50)])
def test_no_negatives_and_negatives_only(share: float, negatives: int) -> None:
    asked = ask(many("dog", count=50), Ask(negatives=share, most_absent=1)).values()
    assert sum(not one.objects for one in asked) == negatives


def test_a_sample_without_absent_categories_is_no_negative() -> None:
    asked, _ = one(Ask(negatives=1.0), sample("ant", "bee", categories=("ant", "bee")))
    assert asked.categories == ("ant", "bee")


def test_objects_that_are_not_asked_for_are_left_out_and_counted() -> None:
    asked, lost = one(Ask(negatives=1.0), sample("dog", "bee", "dog"))
    assert (len(asked.categories), asked.objects) == (1, Objects())
    assert lost == {"not asked for": 3}
    asked, lost = one(Ask(), sample("dog", "bee", "dog", not_exhaustive=("dog",)))
    assert (asked.categories, asked.objects.labels) == (("bee",), ("bee",))
    assert lost == {"not asked for": 2}


def test_what_is_not_annotated_exhaustively_is_never_asked_for() -> None:
    given = many("dog", "bee", not_exhaustive=("dog", "fox"), count=300)
    for asked in ask(given, Ask(most_absent=20, negatives=0.3)).values():
        assert not {"dog", "fox"} & set(asked.categories)
        assert "dog" not in asked.objects.labels


@hypothesis.given(
    present=st.lists(st.sampled_from(SET)),
    doubtful=st.sets(st.sampled_from(SET)),
    most=st.integers(1, 12),
    absent=st.tuples(st.integers(0, 12), st.integers(0, 12)).map(sorted),
    negatives=st.sampled_from([0.0, 0.5, 1.0]),
    single=st.booleans(),
    seed=st.integers(0, 99),
)
def test_what_holds_of_every_prompt(present, doubtful, most, absent, negatives, single, seed) -> None:
    given = sample(*present, not_exhaustive=tuple(doubtful))
    step = Ask(least_absent=absent[0], most_absent=absent[1], most=most, negatives=negatives, one=single)
    asked = step(given, Context(random.Random(seed)))
    there, not_there = set(present) - doubtful, set(SET) - set(present) - doubtful
    if isinstance(asked, Dropped):
        assert asked.reason == "no category to ask for"
        assert not there
        assert not not_there
        return
    names, most = set(asked.categories), 1 if single else most
    assert 1 <= len(asked.categories) <= most
    assert list(asked.categories) == [label for label in SET if label in names]
    assert names <= there | not_there
    assert [label for label in present if label in names] == list(asked.objects.labels)
    if names & there:
        assert len(names & there) == min(most, len(there))  # present ones come first
        room = min(most - len(names & there), len(not_there))
        assert min(absent[0], room) <= len(names & not_there) <= min(absent[1], room)
    else:
        assert not there or (negatives and not_there)
        room = min(most, len(not_there))
        assert min(max(absent[0], 1), room) <= len(names) <= min(max(absent[1], 1), room)


def test_ask_for_the_most_present_ones_first() -> None:
    given = many("ant", "bee", "cat", "dog", count=300)
    counts = Counter()
    for asked in ask(given, Ask(most=2, least_absent=3, most_absent=3)).values():
        assert set(asked.categories) < {"ant", "bee", "cat", "dog"}
        assert asked.categories == asked.objects.labels
        counts[asked.categories] += 1
    assert len(counts) == 6  # every pair
    for asked in ask(given, Ask(most=5, least_absent=3, most_absent=3)).values():
        assert len(asked.categories) == 5
        assert {"ant", "bee", "cat", "dog"} < set(asked.categories)


def test_ask_for_one() -> None:
    step = Ask(one=True, least_absent=2, most_absent=4, negatives=0.5)
    found = Counter()
    for asked in ask(many("dog", "bee", "dog", count=400), step).values():
        (label,) = asked.categories
        assert asked.objects.labels == {"dog": ("dog", "dog"), "bee": ("bee",)}.get(label, ())
        found[label in ("dog", "bee")] += 1
    assert abs(found[True] - 200) < 4 * math.sqrt(400 / 4)


def test_an_image_without_objects_is_asked_for_what_is_absent() -> None:
    asked = ask(many(count=300), Ask(most_absent=2)).values()
    assert {len(one.categories) for one in asked} == {1, 2}
    assert {label for one in asked for label in one.categories} == set(SET)
    assert dropped(Ask(), sample(categories=())) == "no category to ask for"
    assert dropped(Ask(), sample(categories=("ant",), not_exhaustive=("ant",))) == "no category to ask for"


def test_the_order_of_categories_tells_nothing() -> None:
    backwards = many("dog", "bee", categories=SET[::-1], count=50)
    for asked in ask(backwards, Ask(least_absent=3, most_absent=3)).values():
        assert list(asked.categories) == sorted(asked.categories, reverse=True)


def test_labels_beyond_the_set_are_present_too() -> None:
    asked, _ = one(Ask(), sample("yak", "ant", "yak", categories=("ant", "bee")))
    assert (asked.categories, asked.objects.labels) == (("ant", "yak"), ("yak", "ant", "yak"))


def test_a_set_that_names_a_category_twice() -> None:
    given = many(categories=("ant", "bee", "ant", "bee"), count=50)
    for asked in ask(given, Ask(least_absent=2, most_absent=2)).values():
        assert asked.categories == ("ant", "bee")


@pytest.mark.parametrize("fields", [{"query": "Where is the dog?"}, {"task": "ocr"}])
def test_a_question_of_its_own_stays(fields) -> None:
    given = sample("dog", "bee", **fields)
    assert Ask(negatives=1.0, most=1)(given, context()) is given


# Count, Strata


@pytest.mark.parametrize(
    ("step", "reasons"),
    [
        (Count(), [None, None, None, None]),
        (Count(least=2), ["fewer than 2 objects"] * 2 + [None] * 2),
        (Count(most=2), [None] * 3 + ["more than 2 objects"]),
        (Count(most=0), [None] + ["more than 0 objects"] * 3),
        (
            Count(least=1, most=1),
            ["fewer than 1 objects", None, "more than 1 objects", "more than 1 objects"],
        ),
    ],
    ids=str,
)
def test_count(step: Count, reasons: list[str | None]) -> None:
    outcomes = [step(sample(*["ant"] * k), context()) for k in range(4)]
    assert [getattr(outcome, "reason", None) for outcome in outcomes] == reasons


def test_strata() -> None:
    def stratum(step: Strata, *labels: str) -> str:
        return step(sample(*labels), context()).stratum

    assert [stratum(Strata(), *["ant"] * k) for k in (0, 1, 10, 11)] == ["negative", "easy", "easy", "hard"]
    assert [stratum(Strata(objects=0), *["ant"] * k) for k in (0, 1)] == ["negative", "hard"]
    assert stratum(Strata(categories=2), "ant", "bee", "bee") == "easy"
    assert stratum(Strata(categories=2), "ant", "bee", "cat") == "hard"
    assert stratum(Strata(objects=2, categories=9), "ant", "ant", "ant") == "hard"
    assert stratum(Strata(), *SET) == "easy"


# Budget

# `[{"bbox_2d": ...}]` in a fence, with a tab: 64 characters.
ANSWER = '```json\n[\n\t{"bbox_2d": [5, 5, 15, 15], "label": "ant"}\n]\n```'


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    """One token a character, and one in front of a whole text, which an answer is not."""
    alphabet = {chr(code): number for number, code in enumerate([9, 10, *range(32, 127)])}
    made = Tokenizer(models.WordLevel({**alphabet, "?": len(alphabet)}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    made.post_processor = processors.TemplateProcessing("? $A", special_tokens=[("?", len(alphabet))])
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path / "tokenizer.json"


def test_budget_counts_tokens_and_the_one_that_ends_the_answer(tokenizer: Path) -> None:
    given, length = sample("ant"), len(ANSWER)
    assert Budget(length + 1, tokenizer=tokenizer)(given, context()) is given
    assert dropped(Budget(length, tokenizer=tokenizer), given) == "answer too long"


def test_budget_without_a_tokenizer_takes_characters_as_the_measure() -> None:
    given, length = sample("ant"), len(ANSWER)
    assert Budget(length + 1, characters=1)(given, context()) is given
    assert dropped(Budget(length, characters=1), given) == "answer too long"
    assert Budget(math.ceil(length / 1.7) + 1)(given, context()) is given
    assert dropped(Budget(math.ceil(length / 1.7)), given) == "answer too long"


def test_budget_of_no_objects_and_of_many() -> None:
    assert Budget(20)(sample(), context()) == sample()
    assert dropped(Budget(200), sample(*SET)) == "answer too long"
    crowd = replace(sample(*SET), objects=Objects((BOX,) * 10, SET, (True,) * 10))
    assert Budget(20)(crowd, context()) is crowd  # a perfect answer names no crowds


def test_budget_of_a_number_is_always_enough() -> None:
    given = sample(*SET, task="counting")
    assert Budget(1)(given, context()) is given


def test_budget_of_points_is_smaller_than_of_boxes(tokenizer: Path) -> None:
    length = len('```json\n[\n\t{"point_2d": [10, 10], "label": "ant"}\n]\n```')
    step = Budget(length + 1, tokenizer=tokenizer)
    assert isinstance(step(sample("ant", task="pointing"), context()), Sample)
    assert isinstance(step(sample("ant"), context()), Dropped)


@pytest.mark.parametrize(
    ("dialect", "given", "reason"),
    [
        ("kosmos2", sample("<object>"), "answer cannot be written"),
        ("qwen2_vl", sample("ant", task="pointing"), "qwen2_vl writes no points"),
        ("florence2", sample("ant", task="segmentation"), "florence2 writes no polygons"),
        ("molmo", sample("ant"), "molmo writes no boxes"),
        ("qwen2_5_vl", sample("ant", task="juggling"), "unknown task"),
    ],
)
def test_answers_that_a_dialect_cannot_write(dialect: str, given: Sample, reason: str) -> None:
    assert dropped(Budget(500, dialect), given) == reason


def test_budget_with_another_dialect() -> None:
    given = sample("ant")
    assert dropped(Budget(15, characters=1), given) == "answer too long"
    assert Budget(41, "paligemma", characters=1)(given, context()) is given


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_a_bad_tokenizer_is_one_line(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError) as caught:
        Budget(9, tokenizer=path)(sample("ant"), context())
    assert str(caught.value).startswith(f"{path}: cannot be read as a tokenizer.json (")
    assert "\n" not in str(caught.value)


# Options

BAD_OPTIONS = {
    "unknown step": ({"step": "cleen"}, "Invalid value 'cleen' - at `$.step`"),
    "no step": ({"least": 1}, "Object missing required field `step`"),
    "unknown option": ({"step": "clean", "tiny": 1}, "Object contains unknown field `tiny`"),
    "option of another": ({"step": "clean", "tokens": 1}, "Object contains unknown field `tokens`"),
    "missing option": ({"step": "budget"}, "Object missing required field `tokens`"),
    "wrong type": ({"step": "count", "least": "two"}, "Expected `int`, got `str` - at `$.least`"),
    "more least than most": ({"step": "ask", "least_absent": 2}, "most_absent must be at least 2, got 0"),
    "less than none": ({"step": "ask", "least_absent": -1}, "Expected `int` >= 0 - at `$.least_absent`"),
    "no category": ({"step": "ask", "most": 0}, "Expected `int` >= 1 - at `$.most`"),
    "share above one": ({"step": "ask", "negatives": 1.5}, "Expected `float` <= 1.0 - at `$.negatives`"),
    "unknown dialect": ({"step": "budget", "tokens": 9, "dialect": "klingon"}, "unknown dialect 'klingon'"),
    "no characters": ({"step": "budget", "tokens": 9, "characters": 0}, "Expected `float` > 0.0"),
}


@pytest.mark.parametrize(("options", "words"), BAD_OPTIONS.values(), ids=BAD_OPTIONS)
def test_bad_options(options, words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        msgspec.convert(options, Steps)
    assert words in str(caught.value)


def test_options_are_checked_where_they_are_given_in_python_too() -> None:
    with pytest.raises(ValueError, match="most_absent must be at least 3, got 1"):
        Ask(least_absent=3, most_absent=1)
    with pytest.raises(ValueError, match="unknown dialect 'klingon'"):
        Budget(9, "klingon")
