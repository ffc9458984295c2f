import subprocess
import sys
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from vision_r1_grpo import Refinement, VisionReward
from vision_r1_grpo.integrations.columns import write_rows
from vision_r1_grpo.integrations.reward import answer_text, make_reward, score

STAGED = Refinement.staged(0.5)
ROWS = [[0.5, 0.5, 0.75], [0.75, 0.75, 0.9]]
SETTINGS = {"kind": "linear", "begins": [0.0, 1.0], "thresholds": ROWS}


def test_settings_are_those_of_from_preset():
    reward = make_reward(
        "paper", "qwen2_5_vl", refinement=STAGED, weights={"recall": 2}, denominator="matched"
    )
    assert reward == VisionReward.from_preset(
        "paper", "qwen2_5_vl", refinement=STAGED, weights={"recall": 2}, denominator="matched"
    )


@pytest.mark.parametrize("settings", [SETTINGS, OmegaConf.create(SETTINGS)], ids=["YAML", "OmegaConf"])
def test_a_refinement_may_come_from_yaml(settings):
    wanted = Refinement((0.0, 1.0), tuple(map(tuple, ROWS)), "linear")
    assert make_reward("strict", "qwen2_5_vl", refinement=settings).refinement == wanted


@pytest.mark.parametrize(
    ("refinement", "message"),
    [
        ({"knd": "linear"}, "refinement has no 'knd'; its settings are .*; did you mean 'kind'"),
        ("linear", "refinement must be a Refinement or a mapping of its settings, got 'linear'"),
    ],
)
def test_a_refinement_that_is_none_is_said(refinement, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make_reward("strict", "qwen2_5_vl", refinement=refinement)


def test_an_adaptive_refinement_is_refused():
    with pytest.raises(ValueError, match=r"refinement\.kind adaptive needs a state"):
        make_reward("strict", "qwen2_5_vl", refinement={"kind": "adaptive", "thresholds": ROWS})


@pytest.mark.parametrize(("step", "steps"), [(0, 10), (4, 10), (5, 10), (10, 10), (11, 10), (0, 0)])
def test_thresholds_follow_the_steps_of_the_trainer(batch, step, steps):
    state = SimpleNamespace(global_step=step, max_steps=steps)
    scored = score(
        make_reward("strict", "qwen2_5_vl", refinement=STAGED),
        batch.completions,
        write_rows(batch.targets),
        state,
    )
    late = step >= 5
    assert scored.total.equal(batch.scored(refinement=STAGED, progress=float(late)).total)
    assert not scored.total.equal(batch.scored(refinement=STAGED, progress=float(not late)).total)


def test_thresholds_that_change_need_the_steps(batch):
    columns = write_rows(batch.targets)
    with pytest.raises(ValueError, match="refinement has 2 rows of thresholds, and the trainer passes no"):
        score(make_reward("strict", "qwen2_5_vl", refinement=STAGED), batch.completions, columns, None)
    scored = score(make_reward("strict", "qwen2_5_vl"), batch.completions, columns, None)
    assert scored.total.equal(batch.scored().total)


@pytest.mark.parametrize(
    ("completion", "text"),
    [
        ("[]", "[]"),
        ([{"role": "assistant", "content": "[]"}], "[]"),
        ([{"role": "assistant", "content": None}], ""),
        ([{"role": "tool", "content": "zoomed"}, {"role": "assistant", "content": "[]"}], "[]"),
        (
            [
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "["},
                        {"type": "image"},
                        {"type": "text", "text": "]"},
                    ],
                }
            ],
            "[]",
        ),
    ],
)
def test_the_text_of_a_completion(completion, text):
    assert answer_text(completion) == text


def test_rewards_need_nothing_of_the_trainer():
    """verl and EasyR1 hold transformers at versions older than the trainer's."""
    script = (
        "import sys\n"
        "for name in ('transformers', 'deepspeed', 'rich', 'datasets'):\n"
        "    sys.modules[name] = None\n"
        "from vision_r1_grpo.integrations import columns, swift, trl, verl\n"
        "print(trl.vision_reward('strict', 'qwen2_5_vl').__name__)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "vision_strict\n"


def test_a_dialect_of_special_tokens_is_warned_of():
    with pytest.warns(
        UserWarning, match="'qwen2_vl' marks boxes with special tokens: have the trainer decode"
    ):
        make_reward("strict", "qwen2_vl")
