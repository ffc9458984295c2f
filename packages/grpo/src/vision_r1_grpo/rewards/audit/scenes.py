"""Random scenes for an audit, and answers to them: perfect, imperfect, or wrong on purpose.

All boxes are xyxy in original pixels. What an answer overlaps is measured as it is written, after a dialect's
rounding. Objects of one label hardly overlap, so it is never in doubt which object a box is meant for.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from vision_r1_data import Box, Dialect, Frame, Objects
from vision_r1_data.prompts import TASKS, Form
from vision_r1_grpo.rewards.scene import Target

Labelled = tuple[Box, str]

_SIZES = ((320, 240), (640, 480), (480, 640), (512, 512), (1024, 768), (1333, 800))
_SCALES = (0.75, 1.0, 1.6)
_PATCH = 28  # pixels; the sides of what a model sees are multiples of it
_POINTED = 0.3  # of the image's sides, the most of an object to point to, so that there is room beside it
_WORDS = (
    "EXIT",
    "Bakery",
    "24 hours",
    "No parking",
    "Café",
    "Sale!",
    "Gleis 7",
    "TAXI",
    "open",
    "Müller & Co",
)
_LABELS = ("person", "cat", "dog", "car", "traffic light", "cup", "café chair", "bird", "boat", "book")
_MOST_OBJECTS = 12
_SMALLEST = 32  # model pixels; a whole pixel more or less still hits
_SIDE = 0.6  # of the image's sides, the most of an object
_LARGEST = 0.4  # of the image, which as one box must hit nothing
_SAME_LABEL, _OTHER_LABEL = 0.05, 0.3  # most overlap of two objects
_WRONG, _AMBIGUOUS = 0.1, 0.45  # less overlap is none; more is taken for the other object
_TRIES = 60


@dataclass(frozen=True)
class Scene:
    """A target, and answers to it that are the same whenever they are asked for.

    Args:
        target: what is there.
        dialect: how answers write it.
        seed: of everything random in the answers.
        task: what is asked.
        names: what an answer may call an object.
    """

    target: Target
    dialect: Dialect
    seed: str
    task: str
    names: tuple[str, ...]

    @property
    def form(self) -> Form:
        """What an answer is made of."""
        return TASKS[self.task].form

    @cached_property
    def objects(self) -> list[Labelled]:
        """What is there, which is also what a perfect answer names."""
        return list(zip(self.target.boxes, self.target.labels, strict=True))

    def rng(self, purpose: str) -> random.Random:
        """A generator of its own for each purpose."""
        return random.Random(f"{self.seed} {purpose}")

    def write(self, objects: Sequence[Labelled]) -> str:
        """The completion that names the objects, or says how many they are."""
        if self.form == "number":
            return str(len(objects))
        boxes, labels = tuple(box for box, _ in objects), tuple(label for _, label in objects)
        return self.dialect.encode(Objects(boxes, labels), self.target.frame, self.form)

    def written(self, box: Box) -> Box:
        """The box as a reader of a completion of boxes sees it."""
        text = self.dialect.encode(Objects((box,), ("",)), self.target.frame)
        return self.dialect.decode(text, self.target.frame).boxes[0]

    @cached_property
    def perfect(self) -> str:
        """The completion that names every object and nothing else."""
        return self.write(self.objects)

    @cached_property
    def attempt(self) -> str:
        """An honest answer with faults: boxes at IoU .6 to .9; of three or more, one missed or invented.

        A count has none, so that a reward may ask for the right number.
        """
        if self.form == "number":
            return self.perfect
        rng = self.rng("attempt")
        named = [(self.near(k, 0.6, 0.9, rng), label) for k, (_, label) in enumerate(self.objects)]
        if len(named) > 2 and rng.random() < 0.5:
            named.pop(rng.randrange(len(named)))
        elif len(named) > 2:
            named.append(self.junk(rng))
        return self.write(named)

    def near(self, k: int, low: float, high: float, rng: random.Random) -> Box:
        """A box whose IoU with object k lies in [low, high], and that is not taken for another one."""
        true, _ = self.objects[k]
        width, height = true[2] - true[0], true[3] - true[1]
        for _ in range(_TRIES):
            wanted = rng.uniform(low, high)
            edges = [rng.uniform(-1, 1) * side for side in (width, height, width, height)]
            box = self._towards(true, edges, wanted)
            if low <= iou(box, true) <= high and self.unambiguous(box, k):
                return box
        return self.written((true[0], true[1], true[0] + width * (low + high) / 2, true[3]))

    def _towards(self, true: Box, edges: Sequence[float], wanted: float) -> Box:
        """The true box with its edges moved as far as gives the wanted IoU."""
        frame = self.target.frame
        near, far = 0.0, 1.0
        for _ in range(12):
            middle = (near + far) / 2
            moved = [x + middle * edge for x, edge in zip(true, edges, strict=True)]
            box = _inside((moved[0], moved[1], moved[2], moved[3]), frame)
            near, far = (middle, far) if iou(box, true) > wanted else (near, middle)
        return self.written(box)

    def unambiguous(self, box: Box, k: int) -> bool:
        """Whether the box overlaps no object other than k enough to be taken for it."""
        return all(
            iou(box, other) < (_WRONG if label == self.objects[k][1] else _AMBIGUOUS)
            for place, (other, label) in enumerate(self.objects)
            if place != k
        )

    def junk(self, rng: random.Random) -> Labelled:
        """A box where there is nothing, with a label that was asked for."""
        frame = self.target.frame
        side = 0.3
        while True:
            box = self.written(_random_box(rng, frame, (0.06, max(side, 0.07))))
            if all(iou(box, true) < _WRONG for true in self.target.boxes) and not self.hit(box):
                return box, rng.choice(self.names)
            side *= 0.98

    def hit(self, box: Box) -> set[str]:
        """The labels of what the box, where it is written as a point, points to or all but does."""
        if self.form != "points":
            return set()
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        margin = 1 + self.target.frame.width / self.target.frame.model_width  # the point is rounded
        return {
            label
            for (x1, y1, x2, y2), label in self.objects
            if x1 - margin <= x <= x2 + margin and y1 - margin <= y <= y2 + margin
        }

    def wrong_label(self, k: int, rng: random.Random) -> str:
        """A name that nothing at object k's place has."""
        true, own = self.objects[k]
        taken = {label for box, label in self.objects if iou(box, true) >= _WRONG} | self.hit(true)
        return rng.choice([name for name in self.names if name not in taken | {own}])


def random_scenes(
    count: int, seed: int, dialect: Dialect, task: str = "detection", *, resize: bool = True
) -> list[Scene]:
    """Scenes of several sizes with up to 12 objects of a few labels, about one in seven with none.

    Args:
        count: how many.
        seed: the same one gives the same scenes and answers, and the first n of more are the n of fewer.
        dialect: how answers are written.
        task: what is asked; a referring expression has at most one object.
        resize: whether the model may see the images at another size than the original.
    """
    return [_random_scene(f"{seed} {number}", dialect, task, resize) for number in range(count)]


def _random_scene(seed: str, dialect: Dialect, task: str, resize: bool) -> Scene:
    rng = random.Random(seed)
    width, height = rng.choice(_SIZES)
    scale = rng.choice(_SCALES)
    model = [max(round(side * scale / _PATCH), 1) * _PATCH for side in (width, height)]
    frame = Frame(width, height, *(model if resize else (width, height)))
    names = rng.sample(_WORDS if task == "ocr" else _LABELS, rng.randint(2, 6))
    if task == "rec":
        names = names[:1]
    present = names[: rng.randint(1, max(min(3, len(names) - 1), 1))]
    largest = _POINTED if task == "pointing" else _SIDE
    objects: list[Labelled] = []
    for _ in range(0 if rng.random() < 0.15 else rng.randint(1, 1 if task == "rec" else _MOST_OBJECTS)):
        for _ in range(_TRIES):
            box, label = _random_box(rng, frame, (0.08, largest)), rng.choice(present)
            if _fits(box, label, objects, frame):
                objects.append((box, label))
                break
    rng.shuffle(names)
    boxes, labels = tuple(box for box, _ in objects), tuple(label for _, label in objects)
    asked = () if task == "ocr" else tuple(names)
    return Scene(Target(boxes, labels, asked, frame, task=task), dialect, seed, task, tuple(names))


def _fits(box: Box, label: str, objects: Sequence[Labelled], frame: Frame) -> bool:
    seen = frame.to_model(box)
    large_enough = min(seen[2] - seen[0], seen[3] - seen[1]) >= _SMALLEST
    return (
        large_enough
        and area(box) <= _LARGEST * frame.width * frame.height
        and all(iou(box, b) < (_SAME_LABEL if label == name else _OTHER_LABEL) for b, name in objects)
    )


def _random_box(rng: random.Random, frame: Frame, sides: tuple[float, float]) -> Box:
    """A box with sides of that share of the image's; some touch its right or lower edge."""
    width, height = (side * rng.uniform(*sides) for side in (frame.width, frame.height))
    x, y = (
        room if rng.random() < 0.1 else rng.uniform(0, room)
        for room in (frame.width - width, frame.height - height)
    )
    box = (round(x, 1), round(y, 1), round(x + width, 1), round(y + height, 1))
    return _inside(box, frame)


def _inside(box: Box, frame: Frame) -> Box:
    x1, y1, x2, y2 = box
    return (max(x1, 0.0), max(y1, 0.0), min(x2, float(frame.width)), min(y2, float(frame.height)))


def area(box: Box) -> float:
    """The area of a box; 0 for one whose corners are swapped."""
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def iou(one: Box, other: Box) -> float:
    """The IoU of two boxes; 0 where either has no area."""
    shared = area(
        (max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3]))
    )
    return shared / (area(one) + area(other) - shared) if shared > 0 else 0.0
