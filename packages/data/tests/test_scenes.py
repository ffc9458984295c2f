import json
import random
from pathlib import Path

import numpy as np
import pytest

from vision_r1_data import DataError, read_coco
from vision_r1_data.scenes import COLOURS, LABELS, SIZE, draw_scene, write_scenes


@pytest.mark.parametrize("seed", range(20))
def test_boxes_fit_what_is_drawn(seed: int) -> None:
    image, objects = draw_scene(random.Random(seed))
    pixels = np.asarray(image)
    drawn = (pixels != pixels[SIZE - 1, SIZE - 1]).any(axis=2)
    assert 1 <= len(objects) <= 3
    for (x1, y1, x2, y2), label in zip(objects.boxes, objects.labels, strict=True):
        rows, columns = np.nonzero(drawn[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1])
        assert (rows.min(), rows.max()) == (0, y2 - y1)
        assert (columns.min(), columns.max()) == pytest.approx((0, x2 - x1), abs=1)
        centre = pixels[int(y1 + y2) // 2, int(x1 + x2) // 2]
        assert np.abs(centre - np.array(COLOURS[label.split()[0]])).max() <= 20
        drawn[int(y1) : int(y2) + 1, int(x1) : int(x2) + 1] = False
    assert not drawn.any()


def test_objects_go_from_left_to_right_and_do_not_touch() -> None:
    rng = random.Random(0)
    for _ in range(50):
        _, objects = draw_scene(rng, max_objects=6)
        assert list(objects.boxes) == sorted(objects.boxes)
        for k, a in enumerate(objects.boxes):
            for b in objects.boxes[k + 1 :]:
                assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_one_object_at_most() -> None:
    rng = random.Random(0)
    assert {len(draw_scene(rng, max_objects=1)[1]) for _ in range(20)} == {1}


def test_a_written_set_reads_back(tmp_path: Path) -> None:
    path = write_scenes(tmp_path / "set", 5, seed=3)
    samples = list(read_coco(path, path.parent / "images"))
    rng = random.Random(3)
    for sample in samples:
        image, objects = draw_scene(rng)
        assert sample.objects == objects
        assert sample.categories == LABELS
        assert sample.load_image().tobytes() == image.tobytes()
    assert len(samples) == 5
    assert min(a["id"] for a in json.loads(path.read_text())["annotations"]) == 1


def test_the_seed_decides(tmp_path: Path) -> None:
    first, again, other = (write_scenes(tmp_path / str(k), 4, seed=s) for k, s in enumerate((1, 1, 2)))
    assert first.read_bytes() == again.read_bytes()
    assert first.read_bytes() != other.read_bytes()


@pytest.mark.parametrize("is_file", [True, False])
def test_what_is_there_is_kept(tmp_path: Path, is_file: bool) -> None:
    folder = tmp_path / "set"
    folder.touch() if is_file else folder.mkdir()
    with pytest.raises(DataError, match="set: exists already; give a new folder or remove it"):
        write_scenes(folder, 1, seed=0)
    assert [path.name for path in tmp_path.rglob("*")] == ["set"]
