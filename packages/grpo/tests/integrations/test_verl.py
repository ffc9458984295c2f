from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from omegaconf import OmegaConf

from vision_r1_data import DataError
from vision_r1_grpo import Refinement
from vision_r1_grpo.integrations.columns import ground_truth
from vision_r1_grpo.integrations.verl import compute_score, compute_score_batch, easyr1_compute_score

ROWS = [[0.5, 0.5, 0.75], [0.75, 0.75, 0.9]]


def with_kwargs(function, kwargs):
    """verl's `custom_reward_function.reward_kwargs` (get_custom_reward_fn of verl/trainer/ppo/reward.py)."""
    kwargs = dict(OmegaConf.create({"reward_kwargs": kwargs}).reward_kwargs)
    return lambda **given: function(**{**given, **kwargs})


def naive(function, batch):
    """NaiveRewardManager.run_single (verl/experimental/reward_loop/reward_manager/naive.py of verl 0.9.1).

    It calls a function that is not async in a thread of a pool.
    """

    def one(text, row):
        extra = {"index": 0, "num_turns": None, "rollout_reward_scores": {}}
        result = function(
            data_source="photos", solution_str=text, ground_truth=ground_truth(row), extra_info=extra
        )
        return {"reward_score": result["score"], "reward_extra_info": dict(result)}

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, batch.completions, batch.rows))


def expected(total, scored):
    columns = {total: scored.total, **scored.parts}
    return [
        pytest.approx({name: values[n].item() for name, values in columns.items()}, abs=1e-6)
        for n in range(len(scored.total))
    ]


SETTINGS = {
    "strict": {"preset": "strict", "dialect": "qwen2_5_vl"},
    "paper": {
        "preset": "paper",
        "dialect": "qwen2_5_vl",
        "denominator": "matched",
        "weights": {"recall": 2.0},
        "refinement": {"thresholds": ROWS[1:]},
    },
}


def scored(batch, name):
    options = {key: value for key, value in SETTINGS[name].items() if key not in ("preset", "dialect")}
    if "refinement" in options:
        options["refinement"] = Refinement(thresholds=(tuple(ROWS[1]),))
    return batch.scored(name, **options)


@pytest.mark.parametrize("name", SETTINGS)
def test_verl_one_by_one(batch, name):
    results = naive(with_kwargs(compute_score, SETTINGS[name]), batch)
    assert [result["reward_extra_info"] for result in results] == expected("score", scored(batch, name))


@pytest.mark.parametrize("name", SETTINGS)
def test_verl_batch(batch, name):
    """BatchRewardManager.verify (verl/workers/reward_manager/batch.py of verl 0.9.1)."""
    results = with_kwargs(compute_score_batch, SETTINGS[name])(
        data_sources=["photos"] * len(batch.rows),
        solution_strs=batch.completions,
        ground_truths=[ground_truth(row) for row in batch.rows],
        extra_infos=[{"rollout_reward_scores": {}}] * len(batch.rows),
    )
    assert results == expected("score", scored(batch, name))


@pytest.mark.parametrize("name", SETTINGS)
def test_easyr1(batch, name):
    """BatchFunctionRewardManagerMixin and AutoRewardManager (verl/workers/reward/function.py of EasyR1)."""
    function = partial(easyr1_compute_score, **SETTINGS[name])
    results = function(
        [
            {"response": text, "response_length": len(text), "ground_truth": ground_truth(row)}
            for text, row in zip(batch.completions, batch.rows, strict=True)
        ]
    )
    assert results == expected("overall", scored(batch, name))


def test_thresholds_that_change_are_refused(batch):
    settings = SETTINGS["strict"] | {"refinement": {"begins": [0.0, 0.5], "thresholds": ROWS}}
    with pytest.raises(
        ValueError, match="do not tell a reward how far the run is: refinement must have 1 row"
    ):
        compute_score("photos", "[]", ground_truth(batch.rows[0]), **settings)
    with pytest.raises(ValueError, match="refinement must have 1 row, got 2"):
        easyr1_compute_score([], preset="released", dialect="qwen2_5_vl", adaptive=True)


def test_bad_truths_and_settings_are_errors_of_one_line(batch):
    with pytest.raises(DataError, match=r"^ground truth 0: must be JSON as columns\.ground_truth"):
        compute_score("photos", "[]", "cat", **SETTINGS["strict"])
    with pytest.raises(DataError, match=r"^ground truth 1: has no width; image_columns gives"):
        compute_score_batch(
            ["photos"] * 2,
            ["[]"] * 2,
            [ground_truth(batch.rows[0]), '{"solution": []}'],
            **SETTINGS["strict"],
        )
    with pytest.raises(ValueError, match="preset 'strict' has no option 'denominator'"):
        compute_score(
            "photos", "[]", ground_truth(batch.rows[0]), **SETTINGS["strict"], denominator="matched"
        )
