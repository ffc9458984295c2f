"""Every family on a tiny random model of its own: prompts, shared log-probabilities, sampling, one step."""

import copy
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from tiny_families import BUILDERS, save_tiny
from vision_r1_data import Sample, get_dialect
from vision_r1_data.preflight import preflight
from vision_r1_grpo import ConfigError, GRPOConfig, GRPOTrainer, Policy, VisionReward
from vision_r1_grpo.config import OptimizerConfig, SamplingConfig
from vision_r1_grpo.families import FAMILIES
from vision_r1_grpo.logprobs import TokenLogprobs, completion_logprobs
from vision_r1_grpo.policy import collate
from vision_r1_grpo.preflight import preflight as preflight_trainer
from vision_r1_grpo.rollout import Sampling
from vision_r1_grpo.rollout.transformers import TransformersSampler

DIALECT = get_dialect("qwen3_vl")
SIZES = ((60, 90), (130, 40))


@pytest.fixture(scope="module", params=BUILDERS)
def policy(request, tmp_path_factory):
    return Policy.from_pretrained(
        save_tiny(request.param, tmp_path_factory.mktemp(request.param)), device="cpu"
    )


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    """Two images of different sizes."""
    folder, made = tmp_path_factory.mktemp("images"), []
    for number, (size, categories) in enumerate(zip(SIZES, [("cat",), ("red circle", "dog")], strict=True)):
        path = folder / f"{number}.png"
        Image.effect_noise(size, 90).convert("RGB").save(path)
        made.append(Sample(str(number), path, *size, categories=categories))
    return made


@pytest.fixture(scope="module")
def prompts(policy, samples):
    return [policy.encode(DIALECT.prompt(sample), sample.load_image()) for sample in samples]


@pytest.fixture(scope="module")
def completions():
    """Two prompts x three completions of 1 to 7 tokens."""
    generator = torch.Generator().manual_seed(0)
    mask = torch.arange(7) < torch.tensor([7, 1, 4, 2, 6, 3])[:, None]
    return torch.randint(20, 250, (6, 7), generator=generator), mask


def naive_logprobs(policy, prompts, tokens, mask, temperature):
    """One sequence per completion, its image computed again, positions left to the model."""
    model, rows = policy.model, []
    for n in range(len(tokens)):
        prompt = prompts[n // 3]
        ids = torch.cat([prompt.input_ids, tokens[n][mask[n]]])[None]
        length = len(prompt.input_ids)
        told = {}
        if policy.family.mrope:
            told["mm_token_type_ids"] = (ids == policy.processor.image_token_id).long()
        if policy.family.name == "PaliGemma":
            told["token_type_ids"] = (torch.arange(ids.shape[1]) >= length).long()[None]
        logits = model(input_ids=ids, **told, **prompt.vision, use_cache=False).logits[0, length - 1 : -1]
        logits[:, policy.banned_token_ids] = -torch.inf
        logprobs = torch.log_softmax(logits / temperature, dim=1).gather(1, tokens[n][mask[n]][:, None])[:, 0]
        rows.append(torch.nn.functional.pad(logprobs, (0, tokens.shape[1] - len(logprobs))))
    return torch.stack(rows)


def gradients(policy, logprobs):
    policy.model.zero_grad()
    (logprobs * torch.linspace(-1, 1, logprobs.numel()).view_as(logprobs)).sum().backward()
    return torch.cat([p.grad.flatten() for p in policy.model.parameters() if p.grad is not None])


def test_a_prompt_is_the_template_with_its_image_expanded(policy, prompts, samples):
    tokenizer, image = policy.processor.tokenizer, policy.processor.image_token_id
    lengths = []
    for prompt, sample, size in zip(prompts, samples, SIZES, strict=True):
        assert f"Locate every {sample.categories[0]}"[:12] in tokenizer.decode(prompt.input_ids)
        assert (prompt.frame.width, prompt.frame.height) == size
        assert len(prompt.position_ids) == (3 if policy.family.mrope else 1)
        assert prompt.position_ids.shape[1] == len(prompt.input_ids)
        assert prompt.position_ids[0, 0] == (1 if policy.family.name == "PaliGemma" else 0)
        lengths.append(int((prompt.input_ids == image).sum()))
    assert min(lengths) >= 4
    batch = collate(prompts, tokenizer.pad_token_id, torch.device("cpu"))
    for name, values in batch.vision.items():
        assert len(values) == sum(len(prompt.vision[name]) for prompt in prompts)


def test_boxes_lie_where_the_model_sees_them(policy):
    assert len(preflight(policy.processor, DIALECT, sizes=[(640, 480), (98, 70), (60, 45)]).seen) == 4


def test_the_answer_depends_on_the_image(policy, prompts, completions):
    tokens, mask = (one[3:] for one in completions)
    other = replace(prompts[1], vision=dict(prompts[1].vision))
    other.vision["pixel_values"] = other.vision["pixel_values"].flip(-1)
    with torch.no_grad():
        mine, theirs = (
            completion_logprobs(TokenLogprobs(policy.model, 1000), policy, [one], tokens, mask)
            for one in (prompts[1], other)
        )
    assert (mine - theirs).abs().max() > 1e-2


def test_sharing_the_prompt_changes_neither_logprobs_nor_gradients(policy, prompts, completions):
    naive = naive_logprobs(policy, prompts, *completions, 0.8)
    naive_gradient = gradients(policy, naive)
    shared = completion_logprobs(
        TokenLogprobs(policy.model, 1000), policy, prompts, *completions, temperature=0.8
    )
    shared_gradient = gradients(policy, shared)
    torch.testing.assert_close(shared, naive, atol=1e-5, rtol=1e-5)
    assert naive_gradient.norm() > 0.1
    assert (shared_gradient - naive_gradient).norm() / naive_gradient.norm() < 1e-5


def test_a_hot_sampler_says_what_the_update_computes_and_no_image_token(policy, prompts):
    rollout = TransformersSampler(policy).generate(prompts, 8, Sampling(50.0, 24, seed=1))
    with torch.no_grad():
        logprobs = completion_logprobs(
            TokenLogprobs(policy.model, 1000), policy, prompts, rollout.tokens, rollout.mask, temperature=50.0
        )
    torch.testing.assert_close(rollout.logprobs, logprobs, atol=2e-5, rtol=1e-5)
    banned = torch.tensor(policy.banned_token_ids)
    assert not torch.isin(rollout.tokens[rollout.mask], banned).any()
    assert len(rollout.tokens[rollout.mask].unique()) > 50


def test_a_step_changes_every_part(policy, samples, tmp_path):
    own = Policy(copy.deepcopy(policy.model), policy.processor)
    before = {name: value.clone() for name, value in own.model.state_dict().items()}
    config = GRPOConfig(
        sampling=SamplingConfig(group_size=2, max_new_tokens=6),
        optimizer=OptimizerConfig(learning_rate=1e-2),
        prompts_per_step=2,
        max_steps=1,
    )
    # A random model writes nothing that scores, so an added part tells its completions apart.
    reward = VisionReward.from_preset("strict", dialect="qwen3_vl", added={"letters": _letters})
    trainer = GRPOTrainer(config, own, reward, samples, folder=tmp_path)
    assert preflight_trainer(trainer).change > 1e-4
    trainer.train()
    row = json.loads((tmp_path / "metrics.jsonl").read_text())
    assert row["grad_norm"] > 0
    moved = {own.family.part_of(n) for n, v in own.model.named_parameters() if not torch.equal(v, before[n])}
    assert moved == {"vision_tower", "projector", "language_model"}


def _letters(texts, targets):
    return [sum(map(ord, text)) % 97 for text in texts]


@pytest.mark.parametrize("kind", ["qwen2_vl", "glm4v"])
def test_larger_images_are_scaled_down_to_max_pixels(kind, tmp_path):
    folder = save_tiny(kind, tmp_path / kind)
    limited = Policy.from_pretrained(folder, device="cpu", max_pixels=4 * 28 * 28)
    size = (130, 100)
    sample = Sample("1", "1.png", *size, categories=("cat",))
    frame = limited.encode(DIALECT.prompt(sample), Image.new("RGB", size)).frame
    assert (frame.model_width, frame.model_height) == (56, 28)


def test_max_pixels_is_refused_where_images_have_certain_sizes(tmp_path):
    folder = save_tiny("internvl", tmp_path / "model")
    with pytest.raises(ConfigError, match="max_pixels: InternVL has sizes of its own"):
        Policy.from_pretrained(folder, device="cpu", max_pixels=4 * 28 * 28)


def test_a_saved_policy_is_the_same_policy(policy, prompts, samples, tmp_path):
    policy.save_pretrained(tmp_path / "model")
    again = Policy.from_pretrained(tmp_path / "model", device="cpu")
    for prompt, sample in zip(prompts, samples, strict=True):
        other = again.encode(DIALECT.prompt(sample), sample.load_image())
        assert torch.equal(prompt.input_ids, other.input_ids)
        assert all(torch.equal(prompt.vision[name], other.vision[name]) for name in prompt.vision)
    assert again.banned_token_ids == policy.banned_token_ids


def test_tokens_of_boxes_can_be_said():
    banned = {family.name: family.image_tokens for family in FAMILIES}
    for name, token in [("Qwen2-VL", "<|box_start|>"), ("InternVL", "<box>"), ("PaliGemma", "<loc0001>")]:
        assert not re.fullmatch(banned[name], token)
    for name, token in [
        ("SmolVLM", "<row_12_col_3>"),
        ("GLM-4V", "<|begin_of_video|>"),
        ("InternVL", "</img>"),
    ]:
        assert re.fullmatch(banned[name], token)
