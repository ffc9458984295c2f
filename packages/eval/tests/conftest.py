import runpy
from pathlib import Path

import pytest

from vision_r1_data import Answer, Objects, Sample, read_coco
from vision_r1_data.scenes import write_scenes

EXAMPLE = Path(__file__).parents[1] / "examples" / "report.py"


@pytest.fixture
def make_sample():
    """A sample of 100 x 100 pixels from (box, label) pairs, or (box, label, True) for a crowd."""

    def make(*objects, id="1", categories=("cat", "dog")):
        boxes, labels = tuple(o[0] for o in objects), tuple(o[1] for o in objects)
        crowd = tuple(len(o) > 2 and o[2] for o in objects)
        return Sample(
            id, Path(f"{id}.png"), 100, 100, categories=categories, objects=Objects(boxes, labels, crowd)
        )

    return make


@pytest.fixture
def make_answer():
    """A well-formed answer from (box, label) pairs."""

    def make(*boxes, **rest):
        return Answer(
            tuple(b for b, _ in boxes), tuple(name for _, name in boxes), **{"well_formed": True, **rest}
        )

    return make


@pytest.fixture(scope="session")
def example_report(tmp_path_factory):
    """The report of examples/report.py."""
    annotations = write_scenes(tmp_path_factory.mktemp("example") / "scenes", count=24, seed=7)
    samples = list(read_coco(annotations, annotations.parent / "images"))
    return runpy.run_path(str(EXAMPLE))["example_report"](samples)
