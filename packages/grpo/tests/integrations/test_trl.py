import pickle
from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from vision_r1_data import DataError
from vision_r1_grpo import Refinement
from vision_r1_grpo.integrations.trl import vision_reward
from vision_r1_grpo.rewards.audit import audit, load_score

STATE = SimpleNamespace(global_step=3, max_steps=4)


class Trainer:
    """The call site, GRPOTrainer._calculate_rewards of TRL 1.16.0 (trl/trainer/grpo_trainer.py)."""

    def __init__(self):
        self.metrics, self.extra = {}, defaultdict(list)

    def rewards(self, function, inputs, prompts, completions):
        keys = [key for key in inputs[0] if key not in ["prompt", "completion", "completion_ids"]]
        kwargs = {key: [example[key] for example in inputs] for key in keys}
        kwargs["trainer_state"] = STATE
        kwargs["log_extra"] = lambda column, values: self.extra[column].extend(values)
        kwargs["log_metric"] = self.metrics.__setitem__
        given = function(
            prompts=prompts, completions=completions, completion_ids=[[1, 2]] * len(prompts), **kwargs
        )
        assert len(given) == len(prompts)
        return torch.tensor([reward if reward is not None else torch.nan for reward in given])


def inputs(batch):
    return [{"prompt": "Where?", "image": "a picture", **row} for row in batch.rows]


def said(role, text):
    return [{"role": role, "content": text}]


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("preset", ["strict", "paper", "released"])
def test_rewards_are_the_presets_and_parts_are_logged(batch, preset, chat):
    trainer = Trainer()
    texts = [said("assistant", text) if chat else text for text in batch.completions]
    prompts = [said("user", "Where?") if chat else "Where?"] * len(texts)
    rewards = trainer.rewards(vision_reward(preset, "qwen2_5_vl"), inputs(batch), prompts, texts)
    scored = batch.scored(preset)
    assert rewards.equal(scored.total)
    means = {f"rewards/vision_{preset}/{name}": part.mean().item() for name, part in scored.parts.items()}
    assert trainer.metrics == means
    assert trainer.extra == {f"vision_{preset}/{name}": part.tolist() for name, part in scored.parts.items()}


def test_options_weights_and_the_refinement_arrive(batch):
    settings = {
        "denominator": "matched",
        "weights": {"format": 0.0, "recall": 3.0},
        "refinement": Refinement.staged(0.5),
    }
    rewards = Trainer().rewards(
        vision_reward("paper", "qwen2_5_vl", **settings), inputs(batch), ["Where?"] * 24, batch.completions
    )
    assert rewards.equal(batch.scored("paper", progress=0.75, **settings).total)


def test_it_can_be_pickled_and_has_a_name(batch):
    """TRL logs under `getattr(function, "__name__", ...)` (get_callable_name of trl/trainer/utils.py)."""
    function = vision_reward("strict", "qwen2_5_vl")
    again = pickle.loads(pickle.dumps(function))
    assert again.__name__ == function.__name__ == "vision_strict"
    prompts = ["Where?"] * len(batch.completions)
    assert Trainer().rewards(again, inputs(batch), prompts, batch.completions).equal(batch.scored().total)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="the data has no column model_width; image_columns gives"):
        vision_reward("strict", "qwen2_5_vl")(completions=["[]"], solution=["[]"], width=[9], height=[9])


@pytest.mark.parametrize("chat", [False, True])
@pytest.mark.parametrize("preset", ["strict", "released"])
def test_its_audit_is_the_presets(tmp_path, preset, chat):
    file = tmp_path / "rewards.py"
    file.write_text(
        "from vision_r1_grpo import Refinement\n"
        "from vision_r1_grpo.integrations.trl import vision_reward\n"
        f"reward = vision_reward({preset!r}, 'qwen2_5_vl')\n"
        "staged = vision_reward('strict', 'qwen2_5_vl', refinement=Refinement.staged(0.5))\n"
    )

    def findings(reward, **options):
        return audit(load_score(reward, "qwen2_5_vl", **options), "qwen2_5_vl", scenes=12).findings

    own = findings(preset)
    assert findings(f"{file}:reward", chat=chat) == own
    if preset == "strict":
        assert findings(f"{file}:staged", chat=chat) == own
    assert any(finding.hole for finding in own) == (preset == "released")
