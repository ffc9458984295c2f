import importlib.util
import sys
from functools import partial
from pathlib import Path
from types import ModuleType

from PIL import Image

from vision_r1_data import get_dialect, read_coco
from vision_r1_data.scenes import write_scenes
from vision_r1_grpo.integrations.columns import ground_truth, write_row
from vision_r1_grpo.integrations.trl import vision_reward
from vision_r1_grpo.integrations.verl import compute_score

EXAMPLES = Path(__file__).parents[2] / "examples"


def load(name):
    """As EasyR1 and ms-swift load a user's file, by its path."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_example_hides_the_package_that_it_uses():
    """ms-swift puts the folder of a plugin before all others (import_external_file of swift/utils)."""
    assert not {path.stem for path in EXAMPLES.glob("*.py")} & {"trl", "verl", "swift", "datasets"}


def test_trl(policy, tmp_path):
    samples = list(read_coco(write_scenes(tmp_path / "scenes", 3, seed=0), tmp_path / "scenes" / "images"))
    rows = [load("trl_train").to_row(sample, policy.processor.image_processor) for sample in samples]
    perfect = [
        get_dialect("qwen2_5_vl").encode(
            sample.objects, policy.encode(get_dialect("qwen2_5_vl").prompt(sample), sample.load_image()).frame
        )
        for sample in samples
    ]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    assert vision_reward("strict", "qwen2_5_vl")(completions=perfect, **columns) == [3.0] * 3


def test_verl(policy):
    """With the columns of the Vision-R1 data, and a trainer that resizes before the image processor does."""
    row = {
        "image": Image.new("RGB", (150, 130)),
        "problem": "Locate every cat.",
        "solution": '[["cat", [[0, 0, 75, 65], [75, 65, 150, 130]]]]',
        "width": 150,
        "height": 130,
        "num_instances": "2",
        "target_id_maps": '{"cat": 1}',
    }
    made = load("verl_data").to_row(
        row, policy.processor.image_processor, lambda image: image.resize((56, 84))
    )
    assert made["prompt"] == [{"role": "user", "content": "<image>Locate every cat."}]
    items = '{"bbox_2d": [0, 0, 28, 42], "label": "cat"}, {"bbox_2d": [28, 42, 56, 84], "label": "cat"}'
    scores = compute_score(
        data_source=made["data_source"],
        solution_str=f"```json\n[{items}]\n```",
        ground_truth=made["reward_model"]["ground_truth"],
        preset="strict",
        dialect="qwen2_5_vl",
    )
    assert scores == {"score": 3.0, "format": 1.0, "f_measure": 1.0}


def test_easyr1(batch):
    """AutoRewardManager (verl/workers/reward/function.py of EasyR1) asks the file for these three names."""
    example = load("easyr1_reward")
    assert example.REWARD_NAME == "vision_r1"
    assert example.REWARD_TYPE == "batch"
    function = partial(example.compute_score, preset="strict", dialect="qwen2_5_vl")
    inputs = [
        {"response": text, "response_length": len(text), "ground_truth": ground_truth(write_row(target))}
        for text, target in zip(batch.completions, batch.targets, strict=True)
    ]
    assert [score["overall"] for score in function(inputs)] == batch.scored().total.tolist()


def test_swift(batch, monkeypatch):
    swift, rewards = ModuleType("swift"), ModuleType("swift.rewards")
    rewards.orms = {"accuracy": object}
    monkeypatch.setitem(sys.modules, "swift", swift)
    monkeypatch.setitem(sys.modules, "swift.rewards", rewards)
    load("swift_plugin")
    assert list(rewards.orms) == ["accuracy", "vision_r1", "vision_r1_format", "vision_r1_f_measure"]
    columns = {name: [row[name] for row in batch.rows] for name in batch.rows[0]}
    function = rewards.orms["vision_r1"](args=None)
    assert function(batch.completions, trainer_state=None, **columns) == batch.scored().total.tolist()
