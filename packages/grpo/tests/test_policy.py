import copy
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from vision_r1_data import Sample, get_dialect
from vision_r1_grpo import ConfigError, Policy
from vision_r1_grpo.families import find_family
from vision_r1_grpo.policy import collate
from vision_r1_grpo.rollout import Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler


def question(categories=("cat",)):
    return get_dialect("qwen2_5_vl").prompt(Sample("1", "1.png", 112, 84, categories=categories))


def logits(policy, prompt):
    ids = prompt.input_ids[None]
    with torch.no_grad():
        return policy.model(
            input_ids=ids,
            position_ids=prompt.position_ids[:, None],
            mm_token_type_ids=(ids == policy.model.config.image_token_id).long(),
            **prompt.vision,
        ).logits


def test_vision_tokens_are_banned(policy):
    names = policy.processor.tokenizer.convert_ids_to_tokens(policy.banned_token_ids)
    assert names == ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


@pytest.mark.parametrize(("given", "expected"), [(7, [7]), ([7, 0], [7, 0]), (None, [2])])
def test_stop_tokens_are_those_of_generation_or_else_of_the_tokenizer(policy, given, expected):
    assert policy.processor.tokenizer.eos_token_id == 2
    other = copy.copy(policy.model)
    other.generation_config = copy.deepcopy(policy.model.generation_config)
    other.generation_config.eos_token_id = given
    assert Policy(other, policy.processor).stop_token_ids == expected


def test_positions_are_those_that_the_model_would_take(policy, prompts):
    for prompt in prompts:
        ids = prompt.input_ids[None]
        expected, _ = policy.model.model.get_rope_index(
            ids,
            mm_token_type_ids=(ids == policy.model.config.image_token_id).long(),
            image_grid_thw=prompt.vision["image_grid_thw"],
            attention_mask=torch.ones_like(ids),
        )
        assert torch.equal(prompt.position_ids, expected[:, 0])


def test_positions_by_hand(policy, prompts):
    """M-RoPE: text counts up in all three rows; an image counts rows and columns from where it stands."""
    prompt = prompts[0]  # 112 x 84 pixels: 3 x 4 image tokens
    first = int((prompt.input_ids == policy.model.config.image_token_id).nonzero()[0])
    assert prompt.position_ids[:, :first].tolist() == [list(range(first))] * 3
    image = prompt.position_ids[:, first : first + 12] - first
    assert image.tolist() == [[0] * 12, [0] * 4 + [1] * 4 + [2] * 4, [0, 1, 2, 3] * 3]
    assert prompt.position_ids[:, first + 12].tolist() == [first + 4] * 3


def test_left_to_itself_the_model_would_count_an_image_as_text(policy, prompts):
    """Why positions are given: without mm_token_type_ids they silently go on one by one."""
    prompt = prompts[0]
    told = {"input_ids": prompt.input_ids[None], **prompt.vision}
    with torch.no_grad():
        ours = policy.model(**told, position_ids=prompt.position_ids[:, None]).logits
        policy.model.model.rope_deltas = None
        silent = policy.model(**told).logits
        counted = torch.arange(len(prompt.input_ids)).expand(3, 1, -1)
        assert torch.equal(silent, policy.model(**told, position_ids=counted).logits)
    assert (ours - silent).abs().max() > 0.1


def test_nothing_is_left_over_from_an_earlier_call(policy, prompts):
    """transformers keeps rope_deltas of the last prompt, and adds them where it has no positions."""

    def draw():
        return TransformersSampler(policy).generate(prompts, 2, Sampling(1.0, 6, seed=3)).logprobs

    policy.model.model.rope_deltas = None
    expected = draw()
    policy.model.model.rope_deltas = torch.tensor([[77], [-5]])
    assert torch.equal(draw(), expected)
    policy.model.model.rope_deltas = None


def test_settings_of_generation_do_not_cut_what_is_drawn(policy, prompts):
    """Checkpoints bring a top_k and top_p, with which `generate` would not draw from the policy."""
    before = copy.deepcopy(policy.model.generation_config)
    policy.model.generation_config.update(do_sample=True, top_k=1, top_p=0.01, temperature=0.1)
    rollout = TransformersSampler(policy).generate(prompts[:1], 32, Sampling(30.0, 1))
    policy.model.generation_config = before
    assert len(rollout.tokens.unique()) > 16


def test_a_model_of_no_known_family_is_refused_in_one_line(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "llava_next"}')
    with pytest.raises(
        ValueError, match="'llava_next' is of no known family; known are qwen2_vl, qwen2_5_vl"
    ) as e:
        Policy.from_pretrained(tmp_path)
    assert "\n" not in str(e.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            {"layer_types": ["full_attention", "sliding_attention"]},
            "with sliding_attention cannot be trained",
        ),
        ({"attn_logit_softcapping": 50.0}, "with attn_logit_softcapping cannot be trained"),
        ({"final_logit_softcapping": 30.0}, "with final_logit_softcapping cannot be trained"),
    ],
    ids=["windows", "capped scores", "capped logits"],
)
def test_attention_in_which_prompts_cannot_be_shared_is_refused(text, reason):
    config = SimpleNamespace(model_type="paligemma", get_text_config=lambda: SimpleNamespace(**text))
    with pytest.raises(ValueError, match=f"a paligemma model {reason}"):
        find_family(config)


def test_a_checkpoint_without_a_chat_template_is_refused(policy, tmp_path):
    policy.save_pretrained(tmp_path / "model")
    (tmp_path / "model" / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match=r"this Qwen2\.5-VL model has no chat template"):
        Policy.from_pretrained(tmp_path / "model")


def test_the_prompt_is_the_chat_template_with_the_image_expanded(policy):
    image = Image.effect_noise((112, 84), 90).convert("RGB")
    prompt = policy.encode(question(("cat", "dog")), image)
    tokenizer = policy.processor.tokenizer
    text = tokenizer.apply_chat_template(question(("cat", "dog")), tokenize=False, add_generation_prompt=True)
    assert text.count("<|image_pad|>") == 1
    expanded = text.replace("<|image_pad|>", "<|image_pad|>" * 12)
    assert tokenizer.decode(prompt.input_ids) == expanded
    assert prompt.input_ids.tolist() == tokenizer(expanded)["input_ids"]
    assert prompt.vision["image_grid_thw"].tolist() == [[1, 6, 8]]
    assert (prompt.frame.width, prompt.frame.model_width, prompt.frame.model_height) == (112, 112, 84)


def test_a_saved_policy_is_the_same_policy(policy, tmp_path):
    policy.save_pretrained(tmp_path / "model")
    again = Policy.from_pretrained(tmp_path / "model", device="cpu")
    image = Image.effect_noise((112, 84), 90).convert("RGB")
    mine, theirs = policy.encode(question(), image), again.encode(question(), image)
    assert torch.equal(mine.input_ids, theirs.input_ids)
    assert torch.equal(mine.vision["pixel_values"], theirs.vision["pixel_values"])
    assert torch.equal(logits(policy, mine), logits(again, theirs))
    assert again.stop_token_ids == policy.stop_token_ids
    assert again.banned_token_ids == policy.banned_token_ids


def test_a_policy_loads_in_another_type(policy, tmp_path):
    policy.save_pretrained(tmp_path / "model")
    assert Policy.from_pretrained(tmp_path / "model", "bfloat16", "cpu").model.dtype == torch.bfloat16


def test_larger_images_are_scaled_down_to_max_pixels(policy, tmp_path):
    policy.save_pretrained(tmp_path / "model")
    limited = Policy.from_pretrained(tmp_path / "model", device="cpu", max_pixels=56 * 56)
    image = Image.effect_noise((112, 112), 90).convert("RGB")
    frames = [one.encode(question(), image).frame for one in (policy, limited)]
    assert [(frame.model_width, frame.model_height) for frame in frames] == [(112, 112), (56, 56)]


def test_collate_pads_on_the_left(policy, prompts):
    batch = collate(prompts, policy.processor.tokenizer.pad_token_id, torch.device("cpu"))
    lengths = [len(prompt.input_ids) for prompt in prompts]
    assert lengths[0] != lengths[1]
    assert batch.mask.sum(dim=1).tolist() == lengths
    for row, prompt in enumerate(prompts):
        assert torch.equal(batch.input_ids[row, -lengths[row] :], prompt.input_ids)
        assert torch.equal(batch.position_ids[:, row, -lengths[row] :], prompt.position_ids)
        assert batch.next_position[row] == prompt.position_ids.max() + 1
    assert batch.vision["image_grid_thw"].shape == (2, 3)
    assert len(batch.vision["pixel_values"]) == sum(len(prompt.vision["pixel_values"]) for prompt in prompts)


def test_a_model_that_comes_with_another_attention_shares_prompts_all_the_same(policy, prompts):
    """Eager attention adds a mask to its scores, and a boolean one would be silently wrong."""
    expected = TransformersSampler(policy).generate(prompts, 2, Sampling(1.0, 6, seed=3))
    model = copy.deepcopy(policy.model)
    model.set_attn_implementation("eager")
    rollout = TransformersSampler(Policy(model, policy.processor)).generate(
        prompts, 2, Sampling(1.0, 6, seed=3)
    )
    assert rollout.texts == expected.texts
    torch.testing.assert_close(rollout.logprobs, expected.logprobs, atol=1e-5, rtol=1e-5)
