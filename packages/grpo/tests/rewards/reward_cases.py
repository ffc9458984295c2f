"""Answers and truths in few words: an object is a (box, label) pair in an image of 100 x 100 pixels."""

from vision_r1_data import Frame, Objects, get_dialect
from vision_r1_grpo import Target, VisionReward

DIALECT = get_dialect("qwen2_5_vl")
FRAME = Frame(100, 100, 100, 100)
CATEGORIES = ("cat", "dog", "bird")


def answer(*objects):
    """The well-formed completion that names the objects."""
    return DIALECT.encode(
        Objects(tuple(box for box, _ in objects), tuple(name for _, name in objects)), FRAME
    )


def target(*objects):
    """The truth of one prompt."""
    return Target(tuple(box for box, _ in objects), tuple(name for _, name in objects), CATEGORIES, FRAME)


def score(preset, completions, truth, progress=0.0, **options):
    """All completions against one truth, or each against its own."""
    targets = [truth] * len(completions) if isinstance(truth, Target) else truth
    reward = VisionReward.from_preset(preset, "qwen2_5_vl", **options)
    return reward(completions, targets, progress=progress)


def f_measure(predicted, truth):
    """The strict F-measure of one well-formed answer."""
    return score("strict", [answer(*predicted)], target(*truth)).parts["f_measure"].item()
