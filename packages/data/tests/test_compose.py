import importlib.util
import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vision_r1_data import DataError, Faults, Objects
from vision_r1_data.compose import (
    ComposeSettings,
    Cutout,
    compose_scene,
    drawn_samples,
    read_backgrounds,
    read_cutouts,
    write_composed,
)
from vision_r1_data.masks import is_mask
from vision_r1_data.scenes import LABELS

PLAIN = ComposeSettings(size=(320, 240), brightness=0, contrast=0, saturation=0, flip=False)
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def ellipse(path: Path, colour, size=(120, 80)) -> None:
    """A smooth ellipse that fills a picture but for a margin."""
    large = Image.new("L", (size[0] * 4, size[1] * 4))
    ImageDraw.Draw(large).ellipse((40, 40, size[0] * 4 - 40, size[1] * 4 - 40), fill=255)
    image = Image.new("RGB", size, colour)
    image.putalpha(large.resize(size, Image.Resampling.BOX))
    path.parent.mkdir(exist_ok=True)
    image.save(path)


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def drawn(segmentation):
    """The mask that a run-length encoding stands for."""
    height, width = segmentation["size"]
    values = np.arange(len(segmentation["counts"])) % 2 == 1
    return np.repeat(values, segmentation["counts"]).reshape(width, height).T


@pytest.fixture
def cutouts(tmp_path: Path) -> list[Cutout]:
    for name, colour in COLOURS.items():
        ellipse(tmp_path / "cutouts" / f"{name}.png", colour)
    return read_cutouts(tmp_path / "cutouts")


@pytest.fixture
def black(tmp_path: Path) -> list[Path]:
    (tmp_path / "black").mkdir()
    Image.new("RGB", (400, 300)).save(tmp_path / "black" / "black.png")
    return read_backgrounds(tmp_path / "black")


@pytest.fixture(scope="module")
def photographs() -> list[Path]:
    package = importlib.util.find_spec("skimage")
    assert package is not None, "the tests need scikit-image for its photographs"
    assert package.origin is not None
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "grass.png")
    return [Path(package.origin).parent / "data" / name for name in names]


@pytest.mark.parametrize("seed", range(15))
def test_boxes_and_masks_are_what_can_be_seen(cutouts, black, seed: int) -> None:
    image, objects = compose_scene(random.Random(seed), cutouts, black, PLAIN)
    pixels = np.asarray(image)
    masks = [drawn(mask) for mask in objects.segmentations]
    assert image.size == (320, 240)
    assert 1 <= len(objects) <= 8
    assert list(objects.boxes) == sorted(objects.boxes)
    assert np.sum(masks, axis=0).max() <= 1
    for box, mask, segmentation in zip(objects.boxes, masks, objects.segmentations, strict=True):
        assert box_of(mask) == box
        assert is_mask(segmentation, 320, 240)
    for channel, name in enumerate(COLOURS):
        union = np.zeros((240, 320), dtype=bool)
        for mask, label in zip(masks, objects.labels, strict=True):
            union |= mask & (label == name)
        assert union[pixels[..., channel] > 250].all()
        # A pixel that is half of it may be half covered by the edge of another, which leaves a quarter.
        assert not union[pixels[..., channel] < 60].any()


def test_a_pixel_is_of_the_object_where_that_is_half_of_it(cutouts, black) -> None:
    for seed in range(10):
        image, objects = compose_scene(
            random.Random(seed), cutouts[:1], black, replace(PLAIN, objects=(1, 1))
        )
        half = np.asarray(image).max(axis=2) >= 128
        assert (drawn(objects.segmentations[0]) == half).all()
        assert objects.boxes == (box_of(half),)


def test_soft_shadows_are_pasted_but_not_of_the_object(tmp_path: Path, black) -> None:
    image = Image.new("RGBA", (100, 60), (255, 255, 255, 60))
    image.paste((255, 255, 255, 255), (40, 20, 80, 40))
    image.save(tmp_path / "lamp.png")
    settings = replace(PLAIN, objects=(1, 1), scale=(0.25, 0.25), rotation=0, min_visible=1)
    composed, objects = compose_scene(
        random.Random(0), [Cutout("lamp", tmp_path / "lamp.png")], black, settings
    )
    ((x1, y1, x2, y2),) = objects.boxes
    assert (x2 - x1, y2 - y1) == pytest.approx((60, 30), abs=1)
    seen = np.asarray(composed).max(axis=2) > 20
    assert seen.sum() > 2 * (x2 - x1) * (y2 - y1)


def areas(cutouts, black, seeds: int, **changes):
    settings = replace(PLAIN, objects=(8, 8), scale=(0.3, 0.3), rotation=0, **changes)
    scenes = [compose_scene(random.Random(seed), cutouts, black, settings)[1] for seed in range(seeds)]
    return [drawn(mask).sum() for objects in scenes for mask in objects.segmentations]


@pytest.mark.parametrize("least", [0.4, 0.8])
def test_nothing_is_hidden_more_than_allowed(cutouts, black, least: float) -> None:
    found = areas(cutouts, black, 20, min_visible=least)
    whole = max(found)
    assert least <= min(found) / whole < least + 0.1


def test_nothing_is_hidden_at_all(cutouts, black) -> None:
    found = areas(cutouts, black, 10, min_visible=1)
    assert min(found) == max(found)


def test_a_crowded_scene_holds_fewer(cutouts, black) -> None:
    settings = replace(PLAIN, objects=(30, 30), scale=(0.8, 1), min_visible=1)
    _, objects = compose_scene(random.Random(0), cutouts, black, settings)
    assert 1 <= len(objects) < 10


def test_sizes_are_shares_of_the_shorter_side(cutouts, black) -> None:
    settings = replace(PLAIN, scale=(0.2, 0.4), rotation=0, min_visible=1)
    sides = [
        max(x2 - x1, y2 - y1)
        for seed in range(30)
        for x1, y1, x2, y2 in compose_scene(random.Random(seed), cutouts, black, settings)[1].boxes
    ]
    assert 47 <= min(sides) < 55
    assert 90 < max(sides) <= 97


def test_small_pictures_are_enlarged_to_twice_their_size(tmp_path: Path, black) -> None:
    Image.new("RGBA", (30, 30), "red").save(tmp_path / "dot.png")
    cutouts = [Cutout("dot", tmp_path / "dot.png")]
    settings = replace(PLAIN, scale=(0.1, 1), rotation=0, min_visible=1)
    boxes = [
        box
        for seed in range(20)
        for box in compose_scene(random.Random(seed), cutouts, black, settings)[1].boxes
    ]
    assert max(x2 - x1 for x1, _, x2, _ in boxes) == 60


def test_things_come_in_ones_and_in_several(cutouts, black) -> None:
    counts = set()
    for seed in range(40):
        labels = compose_scene(random.Random(seed), cutouts, black, PLAIN)[1].labels
        counts |= {labels.count(label) for label in labels}
    assert counts >= {1, 2, 3, 4}


def test_names_are_as_frequent_however_many_pictures_they_have(tmp_path: Path, black) -> None:
    for number in range(9):
        ellipse(tmp_path / "many" / f"red_{number}.png", "red")
    ellipse(tmp_path / "many" / "blue.png", "blue")
    settings = replace(PLAIN, objects=(1, 1), masks=False)
    cutouts = read_cutouts(tmp_path / "many")
    labels = [
        label
        for seed in range(60)
        for label in compose_scene(random.Random(seed), cutouts, black, settings)[1].labels
    ]
    assert 20 < labels.count("blue") < 40


def colours_of(cutouts, black, **changes):
    settings = replace(PLAIN, objects=(1, 1), min_visible=1, rotation=0, **changes)
    found = []
    for seed in range(30):
        image, objects = compose_scene(random.Random(seed), cutouts, black, settings)
        x1, y1, x2, y2 = objects.boxes[0]
        found.append(image.getpixel((int(x1 + x2) // 2, int(y1 + y2) // 2)))
    return np.array(found)


@pytest.mark.parametrize("change", ["brightness", "contrast", "saturation", "hue"])
def test_what_recolouring_leaves_alone(tmp_path: Path, black, change: str) -> None:
    ellipse(tmp_path / "grey" / "grey.png", (128, 128, 128))
    grey = colours_of(read_cutouts(tmp_path / "grey"), black, **{change: 90 if change == "hue" else 0.5})
    assert np.ptp(grey, axis=1).max() <= 1
    if change == "brightness":
        assert 60 <= grey.min() < 85
        assert 170 < grey.max() <= 192
    else:
        assert np.abs(grey - 128).max() <= 1


def test_saturation_and_hue_change_colours(tmp_path: Path, black) -> None:
    ellipse(tmp_path / "rose" / "rose.png", (180, 100, 100))
    cutouts = read_cutouts(tmp_path / "rose")
    paler = colours_of(cutouts, black, saturation=0.5)
    assert (paler[:, 0] > paler[:, 1]).all()
    assert np.abs(paler @ [0.299, 0.587, 0.114] - 123.92).max() <= 1
    assert np.ptp(paler[:, 0]) > 20
    turned = colours_of(cutouts, black, hue=180)
    assert np.abs(turned.sum(axis=1) - 380).max() <= 3
    assert (turned.argmax(axis=1) == 0).mean() < 0.9


def test_contrast_is_about_what_is_opaque(tmp_path: Path, black) -> None:
    image = Image.new("RGBA", (400, 400))  # black, though nobody sees it
    image.paste((100, 100, 100, 255), (100, 100, 200, 150))
    image.paste((200, 200, 200, 255), (100, 150, 200, 200))
    image.save(tmp_path / "two.png")
    settings = replace(PLAIN, objects=(1, 1), min_visible=1, rotation=0, contrast=0.5, scale=(0.4, 0.4))
    for seed in range(5):
        composed, objects = compose_scene(
            random.Random(seed), [Cutout("two", tmp_path / "two.png")], black, settings
        )
        x1, y1, x2, y2 = map(int, objects.boxes[0])
        inside = np.asarray(composed)[y1:y2, x1:x2].astype(float)
        assert inside.mean() == pytest.approx(150, abs=2)
    assert abs(np.ptp(inside) - 100) > 2


def test_backgrounds_are_cropped_not_squeezed(tmp_path: Path, cutouts) -> None:
    Image.linear_gradient("L").rotate(90).resize((1000, 100)).save(tmp_path / "gradient.png")
    settings = replace(PLAIN, objects=(1, 1), scale=(0.1, 0.1))
    ranges, starts = [], set()
    for seed in range(5):
        image, _ = compose_scene(random.Random(seed), cutouts, [tmp_path / "gradient.png"], settings)
        columns = np.median(np.asarray(image.convert("L")), axis=0)
        ranges.append(np.ptp(columns))
        starts.add(columns[0])
    # 133 of 1000 columns show a part of 256 shades
    assert ranges == pytest.approx([34] * 5, abs=3)
    assert len(starts) == 5


def test_backgrounds_are_turned_upright(tmp_path: Path, cutouts) -> None:
    stored = Image.new("RGB", (1200, 1600), "black")
    stored.paste("white", (0, 0, 600, 1600))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees: its left is the top
    stored.save(tmp_path / "turned.jpg", exif=exif)
    settings = replace(PLAIN, objects=(1, 1), scale=(0.1, 0.1))
    image, _ = compose_scene(random.Random(0), cutouts, [tmp_path / "turned.jpg"], settings)
    rows = np.median(np.asarray(image.convert("L")), axis=1)
    assert rows[:110].min() > 250
    assert rows[130:].max() < 5


@pytest.mark.parametrize("mode", ["L", "I;16", "RGBA", "P", "1", "CMYK"])
def test_backgrounds_of_any_mode(tmp_path: Path, cutouts, mode: str) -> None:
    path = tmp_path / f"any.{'jpg' if mode == 'CMYK' else 'png'}"
    Image.new(mode, (7, 5)).save(path)
    image, _ = compose_scene(random.Random(0), cutouts, [path], PLAIN)
    assert (image.mode, image.size) == ("RGB", (320, 240))


def test_the_state_decides(cutouts, photographs) -> None:
    first, again, other = (
        compose_scene(random.Random(seed), cutouts, photographs, ComposeSettings()) for seed in (1, 1, 2)
    )
    assert (first[0].tobytes(), first[1]) == (again[0].tobytes(), again[1])
    assert first[0].tobytes() != other[0].tobytes()
    _, without = compose_scene(random.Random(1), cutouts, photographs, ComposeSettings(masks=False))
    assert without == Objects(first[1].boxes, first[1].labels)


def test_a_scene_needs_cutouts_and_backgrounds(cutouts, black) -> None:
    with pytest.raises(ValueError, match="needs cut-outs and backgrounds, got 0 and 1"):
        compose_scene(random.Random(0), [], black)
    with pytest.raises(ValueError, match="got 3 and 0"):
        compose_scene(random.Random(0), cutouts, [])


@pytest.mark.parametrize(
    "bad",
    [
        {"size": (0, 10)},
        {"objects": (0, 3)},
        {"objects": (4, 3)},
        {"scale": (0, 0.5)},
        {"scale": (0.5, 0.4)},
        {"scale": (0.5, 1.1)},
        {"min_visible": 0},
        {"min_visible": 1.1},
        {"brightness": -0.1},
        {"contrast": 2},
        {"saturation": float("nan")},
        {"hue": 181},
        {"rotation": -1},
    ],
    ids=str,
)
def test_settings_out_of_range(bad) -> None:
    (name,) = bad
    with pytest.raises(ValueError, match=rf"ComposeSettings\.{name} must be"):
        ComposeSettings(**bad)


def test_names_of_cutouts(tmp_path: Path) -> None:
    files = ("red_apple-2.png", "7.png", "fruit/kiwi (3).PNG", "fruit/Wild-Boar.png", ".hidden.png")
    for file in files:
        ellipse(tmp_path / file, "red")
    (tmp_path / "names.json").write_text(
        json.dumps({"7.png": " seven \n spot", "fruit/Wild-Boar.png": "boar"})
    )
    (tmp_path / "notes.txt").write_text("none")
    found = read_cutouts(str(tmp_path))
    assert [(cutout.name, cutout.path.name) for cutout in found] == [
        ("seven spot", "7.png"),
        ("boar", "Wild-Boar.png"),
        ("kiwi", "kiwi (3).PNG"),
        ("red apple", "red_apple-2.png"),
    ]


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_cutouts_are_cropped_to_what_they_show(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (40, 30))
    image.paste((90, 90, 90, 255), (5, 6, 25, 16))
    if mode == "P":
        image = image.quantize()
    image.convert(mode).save(tmp_path / "one.png")
    (cutout,) = read_cutouts(tmp_path)
    loaded = cutout.load()
    assert (loaded.mode, loaded.size) == ("RGBA", (20, 10))
    assert loaded.getpixel((0, 0)) == (90, 90, 90, 255)


def not_an_image(path: Path) -> None:
    path.write_bytes(b"PNG")


def cut_off(path: Path) -> None:
    Image.effect_noise((50, 50), 50).save(path)
    path.write_bytes(path.read_bytes()[:500])


BAD_CUTOUTS = {
    "no alpha": (lambda path: Image.new("RGB", (9, 9)).save(path), "has no alpha; cut out what it shows"),
    "nothing to see": (
        lambda path: Image.new("RGBA", (9, 9), (255, 0, 0, 127)).save(path),
        "shows nothing, as its alpha is below 128 everywhere; remove it",
    ),
    "not an image": (not_an_image, "cannot be read as an image (cannot identify image file"),
    "cut off": (cut_off, "cannot be read as an image ("),
}


@pytest.mark.parametrize(("write", "words"), BAD_CUTOUTS.values(), ids=BAD_CUTOUTS)
def test_a_bad_cutout_is_named_or_skipped(tmp_path: Path, cutouts, write, words: str) -> None:
    path = tmp_path / "cutouts" / "bad.png"
    write(path)
    with pytest.raises(DataError) as caught:
        read_cutouts(path.parent)
    line = str(caught.value)
    assert line.startswith(f"{path}: {words}")
    assert "\n" not in line
    faults = Faults(skip=True)
    assert read_cutouts(path.parent, faults=faults) == cutouts
    assert (faults.counts, faults.told) == ({"bad_cutout": 1}, [line.split(", or skip")[0]])


def test_a_cutout_without_a_name(tmp_path: Path, cutouts) -> None:
    ellipse(tmp_path / "cutouts" / "007.png", "red")
    with pytest.raises(
        DataError, match=r"007\.png: has no name without its digits; rename it or add it to names"
    ):
        read_cutouts(tmp_path / "cutouts")
    faults = Faults(skip=True)
    assert read_cutouts(tmp_path / "cutouts", faults=faults) == cutouts
    assert faults.counts == {"no_name": 1}


def test_a_name_without_a_cutout(tmp_path: Path, cutouts) -> None:
    (tmp_path / "cutouts" / "names.json").write_text('{"none.png": "nothing"}')
    with pytest.raises(
        DataError, match=r"names\.json: there is no image .*none\.png; add it or drop its name"
    ):
        read_cutouts(tmp_path / "cutouts")
    faults = Faults(skip=True)
    assert read_cutouts(tmp_path / "cutouts", faults=faults) == cutouts
    assert faults.counts == {"missing_image": 1}


@pytest.mark.parametrize(
    ("text", "words"),
    [("{", "is not JSON"), ('{"red.png": 3}', "is not a names.json, which maps files to names")],
)
def test_names_that_cannot_be_read(tmp_path: Path, cutouts, text: str, words: str) -> None:
    (tmp_path / "cutouts" / "names.json").write_text(text)
    with pytest.raises(DataError, match=words):
        read_cutouts(tmp_path / "cutouts", faults=Faults(skip=True))


@pytest.mark.parametrize(
    ("read", "what"), [(read_cutouts, "has no cut-outs"), (read_backgrounds, "has no images")]
)
def test_folders_that_are_missing_or_empty(tmp_path: Path, read, what: str) -> None:
    with pytest.raises(DataError, match="none: is not a folder"):
        read(tmp_path / "none")
    with pytest.raises(DataError, match=what):
        read(tmp_path)


def test_a_bad_background_is_named_or_skipped(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for file in ("b.jpg", "sub/a.webp", "c.PNG"):
        Image.effect_noise((50, 50), 50).save(tmp_path / file)
    not_an_image(tmp_path / "bad.png")
    cut_off(tmp_path / "half.jpg")
    (tmp_path / "notes.txt").write_text("none")
    with pytest.raises(DataError, match=r"bad\.png: cannot be read as an image .*; replace or remove it"):
        read_backgrounds(tmp_path)
    faults = Faults(skip=True)
    found = read_backgrounds(tmp_path, faults=faults)
    assert [path.name for path in found] == ["b.jpg", "c.PNG", "a.webp"]
    assert faults.counts == {"bad_background": 2}


def test_a_background_that_went_missing(tmp_path: Path, cutouts) -> None:
    with pytest.raises(DataError, match=r"gone\.png: cannot be read as an image"):
        compose_scene(random.Random(0), cutouts, [tmp_path / "gone.png"])


def test_written_samples_read_back(tmp_path: Path, cutouts, photographs) -> None:
    samples = list(
        write_composed(tmp_path / "set", 4, seed=5, cutouts=cutouts, backgrounds=photographs, settings=PLAIN)
    )
    assert len({sample.id for sample in samples}) == len(samples)
    assert {sample.source for sample in samples} == {"composed-5"}
    assert {sample.task for sample in samples} == {"detection", "rec", "counting", "pointing", "segmentation"}
    for sample in samples:
        assert sample.load_image().format is None
        assert sample.image_id == f"composed-5:{sample.image.name}"
        assert sample.image_id.startswith(f"composed-5:{sample.id[:6]}.jpg")
        for x1, y1, x2, y2 in sample.objects.boxes:
            assert 0 <= x1 < x2 <= 320
            assert 0 <= y1 < y2 <= 240
    names = sorted(path.name for path in (tmp_path / "set").rglob("*"))
    assert names == ["000000.jpg", "000001.jpg", "000002.jpg", "000003.jpg", "images"]


def written(folder: Path, samples):
    return [(replace(s, image=b""), (folder / "images" / s.image.name).read_bytes()) for s in samples]


@pytest.mark.parametrize("kind", ["composed", "drawn"])
def test_a_scene_follows_from_the_seed_and_its_number(
    tmp_path: Path, cutouts, photographs, kind: str
) -> None:
    def make(folder: str, count: int, seed: int = 3, first: int = 0):
        if kind == "drawn":
            samples = drawn_samples(tmp_path / folder, count, seed=seed, first=first)
        else:
            samples = write_composed(
                tmp_path / folder,
                count,
                seed=seed,
                first=first,
                cutouts=cutouts,
                backgrounds=photographs,
                settings=PLAIN,
            )
        return written(tmp_path / folder, samples)

    whole = make("whole", 5)
    assert make("parts", 2) + make("parts", 3, first=2) == whole
    assert {image for _, image in make("other", 5, seed=4)}.isdisjoint(image for _, image in whole)


def test_scenes_are_made_as_they_are_asked_for(tmp_path: Path, cutouts, black) -> None:
    samples = write_composed(
        tmp_path / "set", 10**9, seed=0, cutouts=cutouts, backgrounds=black, settings=PLAIN
    )
    assert next(samples).id == "000000-0-detection"
    assert len(list((tmp_path / "set" / "images").iterdir())) == 1


def test_scenes_are_asked_for_every_name_that_they_do_not_show(tmp_path: Path, cutouts, black) -> None:
    samples = list(
        write_composed(tmp_path / "set", 20, seed=0, cutouts=cutouts, backgrounds=black, settings=PLAIN)
    )
    absent = [set(s.categories) - set(s.objects.labels) for s in samples if s.task == "detection"]
    assert set().union(*absent) == set(COLOURS)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "set").touch()
    with pytest.raises(DataError, match=r"000000\.png: cannot be written \(.+\); give another folder"):
        next(drawn_samples(tmp_path / "set", 1, seed=0))


def test_an_image_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch) -> None:
    def full(image, path, **options):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(DataError, match="No space left on device"):
        next(drawn_samples(tmp_path / "set", 1, seed=0))
    assert list((tmp_path / "set" / "images").iterdir()) == []


def test_drawn_samples_ask_about_the_shapes(tmp_path: Path) -> None:
    samples = list(drawn_samples(tmp_path / "set", 30, seed=0, max_objects=6))
    assert {sample.source for sample in samples} == {"drawn-0"}
    for sample in samples:
        assert sample.load_image().size == (112, 112)
        if sample.task != "rec":
            assert set(sample.categories) <= set(LABELS)
            assert set(sample.objects.labels) <= set(sample.categories)
    assert max(len(sample.objects) for sample in samples) > 3
