"""A scene as HTML: the truth, the answer before and the answer after, drawn on the image."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from vision_r1_data import Answer, Box, Objects
from vision_r1_eval.matching import Counts, Matching, match_objects
from vision_r1_eval.report.content import Scene
from vision_r1_eval.report.markup import tag, text
from vision_r1_eval.report.picture import SMALL, data_url, load_picture

_IOU = 0.5
_LONGEST_TAG = 22  # characters
_MOST_TAGS = 16  # more would cover the picture; hovering a box still names it
_INVENTED = "#d92d3a"


def label_colours(scenes: Iterable[Scene]) -> dict[str, str]:
    """A colour for each label, the same in every picture; red is kept for invented boxes."""
    labels = {
        label
        for scene in scenes
        for part in (scene.truth, scene.before, scene.after)
        for label in part.labels
    }
    count = max(len(labels), 1)
    return {
        label: f"hsl({45 + 285 * place / count:.0f} {75 - 15 * (place % 2)}% {36 + 8 * (place % 2)}%)"
        for place, label in enumerate(sorted(labels))
    }


def scene_change(scene: Scene) -> Literal["better", "worse", "unchanged"]:
    """How the F1 at IoU .5 of the answer changed."""
    before, after = (matching.counts.f1 for matching in _matchings(scene))
    return "better" if after > before else "worse" if after < before else "unchanged"


def _matchings(scene: Scene) -> list[Matching]:
    return [match_objects(scene.truth, answer, _IOU) for answer in (scene.before, scene.after)]


def scene_figure(scene: Scene, colours: Mapping[str, str] | None = None, number: int = 0) -> str:
    """Three pictures side by side: truth, before, after. The page brings the styles.

    A right box has a solid outline; a true box that is missed (no match of its label at IoU .5) a dashed
    one; an invented box a red outline and hatching.

    Args:
        scene: what to draw.
        colours: of labels, as `label_colours` gives; the scene's own if left out.
        number: the place of the scene on its page; makes the ids of its elements distinct.

    Returns:
        An `<article>`, whose data-change is better, worse or unchanged, by F1.
    """
    colours = label_colours([scene]) if colours is None else colours
    image = load_picture(scene.image)
    canvas = _Canvas(number, *image.size, colours)
    matchings = _matchings(scene)
    before, after = (matching.counts.f1 for matching in matchings)
    kind = scene_change(scene)
    url = data_url(image)
    answers = zip(
        ("Before", "After"),
        (scene.before, scene.after),
        matchings,
        (scene.before_text, scene.after_text),
        strict=True,
    )
    pictures = [
        _picture("Ground truth", canvas.truth(scene.truth, url), _objects_line(scene.truth)),
        *(
            _picture(
                name,
                canvas.answer(scene.truth, answer, matching),
                _counts_line(matching.counts, answer),
                tag("details", tag("summary", "Raw text"), tag("pre", text(raw))) if raw else "",
            )
            for name, answer, matching, raw in answers
        ),
    ]
    title = tag("span", f"F1 {before:.2f} \N{RIGHTWARDS ARROW} {after:.2f}", class_=f"badge {kind}")
    enlarge = tag("button", "Enlarge", type="button", class_="enlarge", aria_pressed="false")
    header = tag("header", tag("h3", text(scene.id)), title, enlarge)
    strip = tag("div", *pictures, class_="strip")
    return tag("article", header, strip, class_="scene", data_change=kind)


@dataclass(frozen=True, slots=True)
class _Canvas:
    """Draws boxes over one image. Lengths follow the width, as every picture is shown equally wide."""

    number: int
    width: int
    height: int
    colours: Mapping[str, str]

    def truth(self, objects: Objects, url: str) -> str:
        """The image itself, which the other pictures reuse, and the true boxes."""
        image = tag(
            "image",
            id=f"image-{self.number}",
            href=url,
            width=self.width,
            height=self.height,
        )
        kinds = ["crowd" if crowd else "right" for crowd in objects.crowd]
        return self._svg("Ground truth", image + self._hatch(), self._boxes(objects, kinds))

    def answer(self, objects: Objects, answer: Answer, matching: Matching) -> str:
        """The predicted boxes, and the true ones that they miss."""
        kinds = ["right"] * len(answer)
        for m in matching.invented:
            kinds[m] = "invented"
        for m in matching.ignored:
            kinds[m] = "crowd"
        missed = Objects(
            tuple(objects.boxes[k] for k in matching.missed),
            tuple(objects.labels[k] for k in matching.missed),
        )
        boxes = self._boxes(missed, ["missed"] * len(missed)) + self._boxes(answer, kinds)
        return self._svg("Answer", tag("use", href=f"#image-{self.number}"), boxes)

    def _svg(self, name: str, image: str, boxes: list[tuple[str, str]]) -> str:
        shapes = "".join(shape for shape, _ in boxes)
        tags = "".join(name for _, name in boxes) if len(boxes) <= _MOST_TAGS else ""
        return tag(
            "svg",
            image,
            shapes,
            tags,
            viewBox=f"0 0 {self.width} {self.height}",
            class_="pixels" if max(self.width, self.height) <= SMALL else None,
            role="img",
            aria_label=name,
            stroke_width=self.width / 110,
            font_size=self.width / 17,
        )

    def _hatch(self) -> str:
        size = self.width / 24
        stroke = tag("path", d=f"M0 0V{size:.2f}", stroke=_INVENTED, stroke_width=size / 2.5)
        return tag(
            "pattern",
            stroke,
            id=f"hatch-{self.number}",
            width=size,
            height=size,
            patternUnits="userSpaceOnUse",
            patternTransform="rotate(45)",
        )

    def _boxes(self, boxes: Objects | Answer, kinds: list[str]) -> list[tuple[str, str]]:
        """The outline and the name of each box that can be drawn."""
        return [
            (self._outline(box, label, kind), self._name(box, label, kind))
            for box, label, kind in zip(boxes.boxes, boxes.labels, kinds, strict=True)
            if all(map(math.isfinite, box))
        ]

    def _outline(self, box: Box, label: str, kind: str) -> str:
        x, y = min(box[0], box[2]), min(box[1], box[3])
        place: dict[str, object] = {
            "x": float(x),
            "y": float(y),
            "width": float(abs(box[2] - box[0])),
            "height": float(abs(box[3] - box[1])),
        }
        dash = {"missed": (3.5, 2.5), "crowd": (0.8, 1.6)}.get(kind)
        halo = tag("rect", class_="halo", stroke_width=self.width / 45, **place)
        rect = tag(
            "rect",
            tag("title", text(label if kind == "right" else f"{kind}: {label}")),
            class_=kind,
            stroke=_INVENTED if kind == "invented" else self.colours.get(label, "currentColor"),
            fill=f"url(#hatch-{self.number})" if kind == "invented" else "transparent",
            stroke_dasharray=" ".join(f"{n * self.width / 110:.2f}" for n in dash) if dash else None,
            **place,
        )
        return rect if kind == "crowd" else halo + rect

    def _name(self, box: Box, label: str, kind: str) -> str:
        """The label above the box; below it for a missed one, which may lie under an invented one."""
        shown = label if len(label) <= _LONGEST_TAG else label[: _LONGEST_TAG - 1] + "\N{HORIZONTAL ELLIPSIS}"
        size = self.width / 17
        width, height = min(0.5 * size * len(shown), self.width - size), 1.3 * size
        above, below = min(box[1], box[3]) - height, max(box[1], box[3])
        # Inside the picture wherever the box lies: a model may put it anywhere.
        x = max(0.0, min(box[0], box[2], self.width - width - 0.6 * size))
        y = max(0.0, min(below if kind == "missed" else above, self.height - height))
        colour = _INVENTED if kind == "invented" else self.colours.get(label, "currentColor")
        plate, ink = ("#fffd", colour) if kind == "missed" else (colour, "#fff")
        # The width is set, so that the letters fit their plate in any font.
        letters = tag(
            "text",
            text(shown),
            x=x + 0.3 * size,
            y=y + 0.97 * size,
            fill=ink,
            textLength=width,
            lengthAdjust="spacingAndGlyphs",
        )
        rect = tag("rect", x=x, y=y, width=width + 0.6 * size, height=height, rx=0.2 * size, fill=plate)
        return rect + letters


def _picture(name: str, svg: str, *below: str) -> str:
    return tag("figure", tag("h4", name), svg, tag("figcaption", *below))


def _objects_line(objects: Objects) -> str:
    count = len(objects.without_crowd())
    return tag("p", f"{count} object{'' if count == 1 else 's'}" if count else "nothing to find")


def _counts_line(counts: Counts, answer: Answer) -> str:
    parts = [
        tag("span", f"{count} {name}", class_=name if count else "none")
        for name, count in (("right", counts.right), ("missed", counts.missed), ("invented", counts.invented))
    ]
    problems = "" if answer.well_formed else ", ".join(answer.problems).replace("_", " ") or "malformed"
    return tag("p", " ".join(parts), tag("span", text(problems), class_="problem") if problems else "")
