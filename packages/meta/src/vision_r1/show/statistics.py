"""What a data set holds, counted as its samples go by."""

from __future__ import annotations

import math
from dataclasses import dataclass

from vision_r1.show.streams import Distinct, Frequent, Histogram
from vision_r1_data import Box, Sample

_TENTHS = tuple(n / 10 for n in range(1, 11))


@dataclass(slots=True)
class Group:
    """The samples of one source, task and stratum."""

    samples: int = 0
    objects: int = 0
    negatives: int = 0


class Statistics:
    """Counts over a stream of samples, in memory that grows with its sources and strata alone.

    Crowd regions are counted apart: `objects` and the histograms of boxes and labels leave them out.

    Example:
        >>> from pathlib import Path
        >>> from vision_r1_data import Objects
        >>> statistics = Statistics()
        >>> objects = Objects(((0, 0, 10, 20), (5, 5, 6, 6)), ("cat", "dog"))
        >>> statistics.add(Sample("1", Path("1.jpg"), 640, 480, objects=objects))
        >>> statistics.objects, statistics.labels.most_common(1), statistics.box_sizes.bars()[0]
        (2, [('cat', 1)], ('small', 2))
    """

    def __init__(self) -> None:
        self.samples = 0
        self.objects = 0
        self.crowd = 0
        self.negatives = 0
        """Samples without any object, a crowd neither."""
        self.flat = 0
        """Boxes without area, such as points; they have no size and no aspect ratio."""
        self.images = Distinct()
        self.label_names = Distinct()
        self.labels: Frequent[str] = Frequent()
        self.groups: dict[tuple[str, str, str], Group] = {}
        """(source, task, stratum) -> its samples."""
        self.orientations = Histogram(("portrait", "square", "landscape"), (1.0, math.nextafter(1, 2)))
        self.instances = Histogram(("0", "1", "2-5", "6-10", "11-20", ">20"), (1, 2, 6, 11, 21))
        self.box_sizes = Histogram(("small", "medium", "large"), (32**2, 96**2))
        """By COCO's areas, in pixels of the original image."""
        self.box_shares = Histogram(
            ("<1", "1-2", "2-4", "4-8", "8-16", "16-32", "32-64", ">64"),
            (1, 2, 4, 8, 16, 32, 64),
        )
        """The root of the part of the image that a box takes, in per cent."""
        self.aspects = Histogram(
            ("<1:6", "1:4", "1:2", "1:1", "2:1", "4:1", ">6:1"), (1 / 6, 1 / 3, 2 / 3, 3 / 2, 3, 6)
        )
        """Width to height."""
        self.image_sizes = Histogram(
            ("<256", "256", "512", "768", "1024", "1536", "2048", ">4096"),
            (256, 512, 768, 1024, 1536, 2048, 4096),
        )
        """The longer side in pixels, by sample."""
        self.pass_rates = Histogram(
            ("0", *(f"<.{n}" for n in range(1, 10)), "<1", "1"), (math.ulp(0.0), *_TENTHS)
        )
        """Of the samples that have one."""

    def add(self, sample: Sample) -> None:
        """Count one sample."""
        objects, single = sample.objects, sample.objects.without_crowd()
        negative = not len(objects)
        group = self.groups.setdefault((sample.source, sample.task, sample.stratum), Group())
        group.samples += 1
        group.objects += len(single)
        group.negatives += negative
        self.samples += 1
        self.objects += len(single)
        self.crowd += len(objects) - len(single)
        self.negatives += negative
        self.images.add(_image_name(sample))
        self.instances.add(len(single))
        self.image_sizes.add(max(sample.width, sample.height))
        self.orientations.add(sample.width / sample.height)
        if sample.pass_rate is not None:
            self.pass_rates.add(sample.pass_rate)
        for box, label in zip(single.boxes, single.labels, strict=True):
            self.labels.add(label)
            self.label_names.add(label)
            self._add_box(box, sample.width * sample.height)

    def _add_box(self, box: Box, image_area: int) -> None:
        width, height = box[2] - box[0], box[3] - box[1]
        if not (0 < width < math.inf and 0 < height < math.inf):
            self.flat += 1
            return
        self.box_sizes.add(width * height)
        self.box_shares.add(100 * math.sqrt(width * height / image_area))
        self.aspects.add(width / height)


def _image_name(sample: Sample) -> str:
    """What tells its picture from others."""
    if sample.image_id:
        return sample.image_id
    return f"{sample.source}:{sample.id}" if isinstance(sample.image, bytes) else str(sample.image)
