"""A group's answers drawn side by side: what the policy says, and what that earns."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageColor, ImageDraw, ImageFont

from vision_r1_data import Answer, Box, Sample
from vision_r1_data.prompts import Message
from vision_r1_grpo.metrics import Step
from vision_r1_grpo.rewards import Target

_SIDE = 420  # of a picture, in pixels
_GAP, _EDGE, _CAPTION = 14, 4, 66
_MOST = 16  # answers drawn; of more, the better and the worse half of them
_MOST_NAMED = 12  # boxes with their labels beside them; of more, colours tell
_GROUND, _PANEL, _TEXT, _DIM = "#15171c", "#20242c", "#f2f3f5", "#9aa1ad"
_BEST, _WORST, _TRUTH = "#35c46a", "#f0524f", "#ffffff"
_GOLDEN = 137.508  # degrees: neighbours in the order are far apart on the wheel


def save_overlay(step: Step, ask: Callable[[Sample], Sequence[Message]], path: Path, title: str) -> None:
    """Draw the group of this rank whose rewards differ most.

    Args:
        step: what was sampled and scored.
        ask: sample -> the messages that ask about it.
        path: of the picture, whose folder is made where it is not there.
        title: of the sheet.
    """
    groups = step.drawn.groups
    totals = groups.scored.total.view(len(groups.samples), -1)
    chosen, size = int(totals.std(dim=1).argmax()), totals.shape[1]
    sample, own = groups.samples[chosen], slice(chosen * size, (chosen + 1) * size)
    sheet = draw_group(
        sample.load_image(),
        groups.targets[own.start],
        groups.scored.answers[own],
        totals[chosen].tolist(),
        {name: part[own].tolist() for name, part in groups.scored.parts.items()},
        title=f"{title}, sample {sample.id}",
        question=question_text(ask(sample)),
    )
    path.parent.mkdir(exist_ok=True)
    sheet.save(path)


def question_text(messages: Sequence[Message]) -> str:
    """The words of chat messages."""
    parts = [part for message in messages for part in message["content"]]
    return " ".join(part["text"] for part in parts if part["type"] == "text")


def draw_group(
    image: Image.Image,
    target: Target,
    answers: Sequence[Answer],
    rewards: Sequence[float],
    parts: Mapping[str, Sequence[float]],
    *,
    title: str,
    question: str,
) -> Image.Image:
    """A contact sheet: the truth, and then the answers from the best to the worst.

    Solid lines are answers, dotted ones the truth. Points are discs, and a number stands below its picture.

    Args:
        image: the picture, in original pixels.
        target: its truth.
        answers: G answers.
        rewards: G totals.
        parts: name -> G parts.
        title: the first line.
        question: below it, cut after two lines.
    """
    order = sorted(range(len(answers)), key=lambda n: -rewards[n])
    shown = order if len(order) <= _MOST else order[: _MOST // 2] + order[-_MOST // 2 :]
    colours = _colours([*target.labels, *target.categories, *(label for a in answers for label in a.labels)])
    named = max(len(target.boxes), *map(len, answers)) <= _MOST_NAMED
    picture, scale = _fitted(image)

    truth = _Cell(picture, scale, colours)
    truth.draw(Answer(target.boxes, target.labels, polygons=_outlines(target)), named)
    truth.caption("truth", _TRUTH, [_counted(target.boxes, "object"), "dotted in the others"])
    cells = [truth.image]
    best, worst = max(rewards), min(rewards)
    marks = {best: ("best", _BEST), worst: ("worst", _WORST)} if best > worst else {}
    for n in shown:
        cell, answer = _Cell(picture, scale, colours), answers[n]
        name, mark = marks.get(rewards[n], ("", ""))
        cell.dot(target.boxes)
        cell.draw(answer, named)
        said = _counted(answer.boxes, "box") if answer.count is None else f"says {answer.count}"
        wrong = ", ".join(answer.problems) or "ill-formed" * (not answer.well_formed)
        earned = [f"{part} {values[n]:.2f}" for part, values in parts.items() if math.isfinite(values[n])]
        cell.caption(f"{rewards[n]:.2f}", mark, ["  ".join(earned), said, wrong], f"{name}  #{n + 1}")
        cells.append(cell.image)
    spread = f"rewards {worst:.2f} to {best:.2f}, mean {sum(rewards) / len(rewards):.2f}"
    left_out = f", {len(order) - len(shown)} answers in the middle left out" * (len(shown) < len(order))
    return _sheet(cells, f"{title}: {spread}{left_out}", question, colours)


class _Cell:
    """One picture with what is drawn on it, and a caption below."""

    def __init__(self, picture: Image.Image, scale: float, colours: Mapping[str, str]) -> None:
        self.width, self.height, self.scale, self.colours = *picture.size, scale, colours
        self.image = Image.new("RGB", (_SIDE + 2 * _EDGE, self.height + _EDGE + _CAPTION), _PANEL)
        self.corner = (_EDGE + (_SIDE - self.width) // 2, _EDGE)
        self.image.paste(picture, self.corner)
        self.pen = ImageDraw.Draw(self.image)

    def place(self, box: Iterable[float]) -> list[float]:
        """Coordinates x, y, x, y, ... of the original image -> of the cell, kept within the picture."""
        most = (self.width - 1, self.height - 1)
        scaled = (min(max(at * self.scale, 0), most[n % 2]) for n, at in enumerate(box))
        return [at + self.corner[n % 2] for n, at in enumerate(scaled)]

    def dot(self, boxes: Sequence[Box]) -> None:
        """The true boxes, as dotted lines that any picture lets through."""
        for x1, y1, x2, y2 in map(self.place, boxes):
            for x in (x1, x2):
                _dotted(self.pen, (x, y1), (x, y2))
            for y in (y1, y2):
                _dotted(self.pen, (x1, y), (x2, y))

    def draw(self, answer: Answer, named: bool) -> None:
        """Boxes, points and outlines in the colours of their labels, and their names where there is room."""
        order = sorted(range(len(answer.boxes)), key=lambda k: -_area(answer.boxes[k]))
        placed = [self.place(answer.boxes[k]) for k in order]
        for k, box in zip(order, placed, strict=True):
            colour = self.colours[answer.labels[k]]
            if answer.polygons:
                ring = self.place([at for corner in answer.polygons[k] for at in corner])
                self.pen.line([*ring, *ring[:2]], fill="black", width=5, joint="curve")
                self.pen.line([*ring, *ring[:2]], fill=colour, width=3, joint="curve")
            elif _area(answer.boxes[k]) == 0 and box[:2] == box[2:]:
                self.pen.circle(box[:2], 7, fill=colour, outline="black", width=2)
                self.pen.circle(box[:2], 2, fill="white")
            else:
                _frame(self.pen, box, colour)
        if named:
            taken = list(placed)
            for k, box in zip(order, placed, strict=True):
                taken.append(self._chip(answer.labels[k], box, taken))

    def _chip(self, label: str, box: Sequence[float], taken: Sequence[Sequence[float]]) -> list[float]:
        """The label beside its box, where it covers least of the other boxes and names."""
        font, name = _font(13), textwrap.shorten(label, 24, placeholder="\N{HORIZONTAL ELLIPSIS}") or "?"
        width, height = self.pen.textlength(name, font) + 8, 17
        x1, y1, x2, y2 = box
        outside = [(x, y) for y in (y1 - height - 2, y2 + 2) for x in (x1, x2 - width)]
        outside += [(x, y) for x in (x2 + 3, x1 - width - 3) for y in (y1, y2 - height)]
        corners = [*outside, (x1 + 3, y1 + 3)]
        left, top = self.corner
        right, bottom = left + self.width - width, top + self.height - height
        places = [
            (min(max(x, left), max(right, left)), min(max(y, top), max(bottom, top))) for x, y in corners
        ]
        chips = [[x, y, x + width, y + height] for x, y in places]
        chip = min(chips, key=lambda c: sum(_shared(c, other) for other in taken))
        colour = self.colours[label]
        self.pen.rounded_rectangle(chip, 4, fill=colour, outline="black")
        self.pen.text((chip[0] + 4, chip[1] + 1), name, _on(colour), font)
        return chip

    def caption(self, head: str, mark: str, lines: Sequence[str], aside: str = "") -> None:
        """The reward with its parts, what was said, and what is wrong; a frame in the colour of the mark."""
        y, font = _EDGE + self.height + 5, _font(13)
        self.pen.text((8, y), head, mark or _TEXT, _font(20))
        self.pen.text((_SIDE - 8, y + 4), aside, mark or _DIM, _font(14), anchor="ra")
        earned, said, *wrong = lines
        self.pen.text((18 + self.pen.textlength(head, _font(20)), y + 5), earned, _TEXT, font)
        self.pen.text((8, y + 34), said, _DIM, font)
        self.pen.text((20 + self.pen.textlength(said, font), y + 34), "".join(wrong), _WORST, font)
        if mark:
            self.pen.rectangle((0, 0, self.image.width - 1, self.image.height - 1), outline=mark, width=3)


def _sheet(
    cells: Sequence[Image.Image], title: str, question: str, colours: Mapping[str, str]
) -> Image.Image:
    columns = math.ceil(math.sqrt(len(cells)))
    rows = math.ceil(len(cells) / columns)
    width, height = cells[0].size
    full = columns * (width + _GAP) + _GAP
    pen = ImageDraw.Draw(Image.new("RGB", (1, 1)))
    letters = int((full - 2 * _GAP) / (pen.textlength("n" * 100, _font(15)) / 100))
    asked = textwrap.wrap(question, letters, max_lines=2, placeholder=" \N{HORIZONTAL ELLIPSIS}")
    head = _GAP + 28 + 21 * len(asked) + 26
    sheet = Image.new("RGB", (full, head + rows * (height + _GAP)), _GROUND)
    pen = ImageDraw.Draw(sheet)
    pen.text((_GAP, _GAP - 4), title, _TEXT, _font(19))
    for n, line in enumerate(asked):
        pen.text((_GAP, _GAP + 26 + 21 * n), line, _DIM, _font(15))
    x = float(_GAP)
    for label, colour in colours.items():
        end = x + 18 + pen.textlength(label, _font(14)) + 16
        if end > full - _GAP:
            break
        pen.rounded_rectangle((x, head - 22, x + 12, head - 10), 3, fill=colour)
        pen.text((x + 18, head - 25), label, _TEXT, _font(14))
        x = end
    for n, cell in enumerate(cells):
        row, column = divmod(n, columns)
        sheet.paste(cell, (_GAP + column * (width + _GAP), head + row * (height + _GAP)))
    return sheet


def _fitted(image: Image.Image) -> tuple[Image.Image, float]:
    """The picture in the size in which it is drawn, and by how much it is enlarged; small ones stay sharp."""
    scale = _SIDE / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    how = Image.Resampling.NEAREST if scale > 2 else Image.Resampling.LANCZOS
    return image.convert("RGB").resize(size, how), scale


def _outlines(target: Target) -> tuple[tuple[tuple[float, float], ...], ...]:
    """The largest polygon of each mask, if all are polygons."""
    masks = target.segmentations
    if not masks or not all(isinstance(mask, list | tuple) and mask for mask in masks):
        return ()
    rings = [max(mask, key=len) for mask in masks]
    return tuple(tuple(zip(ring[::2], ring[1::2], strict=True)) for ring in rings)


def _colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label; those that stand close in the order differ most."""
    return {
        label: f"hsl({(205 + _GOLDEN * place) % 360:.0f},90%,{(60, 68, 52)[place % 3]}%)"
        for place, label in enumerate(dict.fromkeys(labels))
    }


def _frame(pen: ImageDraw.ImageDraw, box: Sequence[float], colour: str) -> None:
    """A box over a dark edge that sets it off from any picture; an answer may have swapped its corners."""
    (x1, x2), (y1, y2) = sorted(box[::2]), sorted(box[1::2])
    pen.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline="black", width=5)
    pen.rectangle((x1, y1, x2, y2), outline=colour, width=3)


def _dotted(pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float]) -> None:
    length = math.dist(start, end)
    for at in range(0, int(length) + 1, 7):
        a, b = (min(t / length, 1) if length else 0 for t in (at, at + 4))
        x, y = zip(start, end, strict=True)
        line = [(x[0] + t * (x[1] - x[0]), y[0] + t * (y[1] - y[0])) for t in (a, b)]
        pen.line(line, fill="black", width=3)
        pen.line(line, fill=_TRUTH, width=1)


def _area(box: Sequence[float]) -> float:
    return max(box[2] - box[0], 0) * max(box[3] - box[1], 0)


def _shared(a: Sequence[float], b: Sequence[float]) -> float:
    return _area([max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])])


def _on(colour: str) -> str:
    """Black or white, whichever is read on it."""
    red, green, blue = ImageColor.getrgb(colour)[:3]
    return "black" if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else "white"


def _counted(items: Sequence[object], name: str) -> str:
    if len(items) == 1:
        return f"1 {name}"
    return f"{len(items)} {name}{'es' if name.endswith('x') else 's'}"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
