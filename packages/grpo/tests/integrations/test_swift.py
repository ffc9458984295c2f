import asyncio
import inspect
from types import SimpleNamespace

import pytest
import torch

from vision_r1_data import DataError
from vision_r1_grpo import Refinement
from vision_r1_grpo.integrations.swift import vision_orms

STATE = SimpleNamespace(global_step=3, max_steps=4)


def batched(rows):
    """RowPreprocessor.rows_to_batched (swift/dataset/preprocessor/core.py): None where a row has no value."""
    return {key: [row.get(key) for row in rows] for key in dict.fromkeys(key for row in rows for key in row)}


def logged(orms, names, batch):
    """Name -> rewards, as ms-swift 4.6 makes, names and calls reward functions.

    GRPOTrainer._prepare_rewards (swift/rlhf_trainers/grpo_trainer.py) and compute_rewards_per_func
    (swift/rl_core/grpo_algorithm.py).
    """
    functions = [orms[name](args=SimpleNamespace(reward_weights=None)) for name in names]
    rows = [{"messages": [], "prompt_id": "0", "images": ["a.png"], **row} for row in batch.rows]
    rewards = {}
    for function in functions:
        assert not asyncio.iscoroutinefunction(function.__call__)
        assert not inspect.isfunction(function)
        output = function(batch.completions, **{"trainer_state": STATE, **batched(rows)})
        rewards[function.__class__.__name__] = torch.tensor(
            [reward if reward is not None else torch.nan for reward in output]
        )
    return rewards


@pytest.mark.parametrize("preset", ["strict", "paper", "released"])
def test_the_reward_and_its_parts(batch, preset):
    orms = vision_orms(preset, "qwen2_5_vl")
    scored = batch.scored(preset)
    wanted = {"vision_r1": scored.total} | {f"vision_r1_{name}": part for name, part in scored.parts.items()}
    rewards = logged(orms, list(orms), batch)
    assert rewards.keys() == wanted.keys()
    assert all(rewards[name].equal(wanted[name]) for name in wanted)


def test_several_rewards_with_settings_of_their_own(batch):
    settings = {"refinement": Refinement.staged(0.5), "weights": {"recall": 2.0}, "denominator": "matched"}
    orms = vision_orms("strict", "qwen2_5_vl") | vision_orms("paper", "qwen2_5_vl", name="paper", **settings)
    rewards = logged(orms, ["vision_r1", "paper"], batch)
    assert rewards["vision_r1"].equal(batch.scored().total)
    assert rewards["paper"].equal(batch.scored("paper", progress=0.75, **settings).total)


def test_a_row_without_a_column_is_named(batch):
    rows = [*batch.rows[:1], {key: value for key, value in batch.rows[1].items() if key != "model_height"}]
    reward = vision_orms("strict", "qwen2_5_vl")["vision_r1"]()
    with pytest.raises(DataError, match=r"^row 1: has no model_height"):
        reward(batch.completions[:2], trainer_state=STATE, **batched(rows))
