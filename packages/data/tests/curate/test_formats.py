"""Every format through a recipe, with one picture each; other files of the formats are in tests/readers."""

import json
from pathlib import Path

import pytest
from PIL import Image

from vision_r1_data import DataError, Objects, Sample
from vision_r1_data.curate import READERS, curate
from vision_r1_data.store import save_samples, stream_samples

SIZE = {"width": 40, "height": 20}
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "coco_url": "http://set/train/a.png", **SIZE}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 9, 8], "area": 72.0}],
    "categories": [{"id": 1, "name": "cat"}],
}
LVIS = COCO | {"images": [COCO["images"][0] | {"neg_category_ids": [], "not_exhaustive_category_ids": []}]}
INSTANCES = [{"bbox": [1, 2, 10, 10], "label": 0, "category": "cat"}]
ODVG = {"filename": "a.png", **SIZE, "detection": {"instances": INSTANCES}}
REC = {"img_path": "a.png", "expression": "a cat", "bbox": [1, 2, 10, 10], **SIZE}
VISION_R1 = {
    "image": "a.png",
    "problem": "Locate every cat.",
    "solution": json.dumps([["cat", [1, 2, 10, 10]]]),
    "num_instances": "1",
    "target_id_maps": json.dumps({"cat": 1}),
    **SIZE,
}
VOC = (
    "<annotation><filename>a.png</filename><size><width>40</width><height>20</height><depth>3</depth></size>"
    "<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>10</xmax>"
    "<ymax>10</ymax></bndbox></object></annotation>"
)
CVAT = (
    "<annotations><image id='0' name='a.png' width='40' height='20'>"
    "<box label='cat' occluded='0' xtl='1' ytl='2' xbr='10' ybr='10'></box></image></annotations>"
)
LABELME = {
    "imagePath": "a.png",
    "imageWidth": 40,
    "imageHeight": 20,
    "shapes": [{"label": "cat", "shape_type": "rectangle", "points": [[1, 2], [10, 10]]}],
}
OPENIMAGES = (
    "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,IsOccluded,IsTruncated,IsGroupOf\n"
    "a,xclick,cat,1,0.025,0.25,0.1,0.5,0,0,0\n"
)
# format -> its options, and the files that they name
FORMATS = {
    "coco": ({"annotations": "a.json", "images": "."}, {"a.json": COCO}),
    "lvis": ({"annotations": "a.json", "images": "."}, {"a.json": LVIS}),
    "objects365": ({"annotations": "a.json", "images": "."}, {"a.json": COCO}),
    "odvg": (
        {"path": "a.jsonl", "images": ".", "label_map": "map.json"},
        {"a.jsonl": ODVG, "map.json": {"0": "cat"}},
    ),
    "rec": ({"path": "a.jsonl", "images": "."}, {"a.jsonl": REC}),
    "vision_r1": ({"path": "a.jsonl"}, {"a.jsonl": VISION_R1}),
    "voc": ({"folder": ".", "images": "."}, {"a.xml": VOC}),
    "cvat": ({"path": "a.xml", "images": "."}, {"a.xml": CVAT}),
    "labelme": ({"folder": ".", "images": "."}, {"a.json": LABELME}),
    "openimages": ({"path": "a.csv", "images": "."}, {"a.csv": OPENIMAGES}),
    "yolo": ({"folder": ".", "images": ".", "names": ["cat"]}, {"a.txt": "0 0.1375 0.3 0.225 0.4\n"}),
    "samples": ({"folder": "stored"}, {}),
}
IN_THE_PAPERS_RECIPE = {"odinw", "refcoco", "visual_genome"}


def test_no_format_is_forgotten() -> None:
    made_up = {"composed", "drawn"}  # in test_run.py
    assert FORMATS.keys() | IN_THE_PAPERS_RECIPE | made_up == READERS.keys()


@pytest.mark.parametrize("name", FORMATS)
def test_a_recipe_reads_the_format_and_keeps_it_out(name: str, tmp_path: Path) -> None:
    """The picture is in the result, and it is not where an evaluation set of the format holds it."""
    folder = tmp_path / "set"
    folder.mkdir()
    Image.effect_noise((40, 20), 80).convert("RGB").save(folder / "a.png")
    options, files = FORMATS[name]
    for file, content in files.items():
        (folder / file).write_text(content if isinstance(content, str) else json.dumps(content))
    if name == "samples":
        cat = Objects(((1, 2, 10, 10),), ("cat",))
        save_samples([Sample("1", folder / "a.png", 40, 20, objects=cat, source="old")], folder / "stored")
    places = {key: str(folder / value) if isinstance(value, str) else value for key, value in options.items()}
    recipe, source = tmp_path / "recipe.yaml", {"format": name, **places}
    recipe.write_text(json.dumps({"sources": {"one": source}}))
    _, waterfall = curate(recipe, tmp_path / "out")
    assert waterfall["one"].faults == {}
    (sample,) = stream_samples(tmp_path / "out")
    assert [round(x, 3) for box in sample.objects.boxes for x in box] == [1, 2, 10, 10]
    assert sample.load_image().size == (40, 20)
    assert sample.source == ("old" if name == "samples" else "one")
    recipe.write_text(json.dumps({"sources": {"one": source}, "held_out": {"two": source}}))
    with pytest.raises(DataError, match="none is left, and most were left out by leakage"):
        curate(recipe, tmp_path / "none")
