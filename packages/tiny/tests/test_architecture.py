import random

import pytest
from PIL import Image

from vision_r1_data import Frame, Objects, Sample, VisionProcessor, get_dialect
from vision_r1_data.scenes import LABELS, SIZE, draw_scene
from vision_r1_tiny.architecture import END, build_image_processor, build_model, build_tokenizer

DIALECT, FRAME = get_dialect("qwen2_5_vl"), Frame(SIZE, SIZE, SIZE, SIZE)


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer()


def pieces(tokenizer, text):
    return [tokenizer.decode([i]) for i in tokenizer(text)["input_ids"]]


@pytest.mark.parametrize(
    "text",
    [
        "Locate every cat in the image.",
        "words never seen: zyzzyva, naïve, 猫, 🐈",
        'a {"b": [1.5, -2e3]}\n\n\t"c"  d ',
        "```json\n[]\n```",
        "",
    ],
)
def test_any_text_comes_back(tokenizer, text):
    assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_answers_come_back(tokenizer):
    rng = random.Random(1)
    for _ in range(50):
        text = DIALECT.encode(draw_scene(rng)[1], FRAME)
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_digits_are_single(tokenizer):
    assert pieces(tokenizer, "1024, 77") == ["1", "0", "2", "4", ", ", "7", "7"]


def test_the_frame_of_an_answer_is_a_few_pieces(tokenizer):
    one = DIALECT.encode(Objects(((10, 20, 104, 99),), ("red circle",)), FRAME)
    assert pieces(tokenizer, one) == [
        "```json\n",
        '[\n\t{"bbox_2d": [',
        *("1", "0", ", ", "2", "0", ", ", "1", "0", "4", ", ", "9", "9"),
        '], "label": "',
        "red",
        " circle",
        '"}\n]',
        "\n```",
    ]
    assert len(tokenizer(one)["input_ids"]) < 30


@pytest.mark.parametrize("label", LABELS)
def test_every_label_is_two_pieces(tokenizer, label):
    assert len(tokenizer(label)["input_ids"]) == 2


def test_the_tokenizer_is_the_same_each_time(tokenizer):
    assert build_tokenizer().get_vocab() == tokenizer.get_vocab()


def test_the_chat_template_is_that_of_qwen(tokenizer):
    sample = Sample("1", "1.png", SIZE, SIZE, categories=("cat",))
    text = tokenizer.apply_chat_template(DIALECT.prompt(sample), tokenize=False, add_generation_prompt=True)
    assert text == (
        "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>Locate every cat in the image and "
        "output the coordinates in JSON format.<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("size", "grid"), [((112, 112), [1, 8, 8]), ((640, 480), [1, 6, 8]), ((10, 10), [1, 2, 2])]
)
def test_images_are_at_most_of_the_size_of_a_scene(tokenizer, size, grid):
    processor = VisionProcessor(tokenizer, build_image_processor())
    sample = Sample("1", "1.png", *size)
    assert processor.encode(DIALECT.prompt(sample), Image.new("RGB", size)).vision[
        "image_grid_thw"
    ].tolist() == [grid]


def test_the_model_is_tiny(tokenizer):
    model = build_model(tokenizer)
    assert 1.5e6 < model.num_parameters() < 3e6
    assert model.generation_config.eos_token_id == tokenizer.convert_tokens_to_ids(END)
    assert model.config.model_type == "qwen2_5_vl"
