"""How the pixels of an image on disk map to the pixels that a model sees."""

from __future__ import annotations

from dataclasses import dataclass

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2; the docstring of each use names the coordinate space."""


Polygon = tuple[tuple[float, float], ...]
"""Three or more corners (x, y)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of an image, and the size to which a processor resized it for the model.

    Args:
        width: width of the original image in pixels.
        height: height of the original image in pixels.
        model_width: width in pixels of what the model sees.
        model_height: height in pixels of what the model sees.

    Raises:
        ValueError: a size is not positive.

    Example:
        >>> frame = Frame(width=640, height=480, model_width=644, model_height=476)
        >>> frame.to_model((320, 240, 640, 480))
        (322.0, 238.0, 644.0, 476.0)
        >>> frame.to_original((322, 238, 644, 476))
        (320.0, 240.0, 640.0, 480.0)
    """

    width: int
    height: int
    model_width: int
    model_height: int

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) <= 0:
                raise ValueError(f"Frame.{name} must be positive, got {getattr(self, name)}")

    def to_model(self, box: Box) -> Box:
        """Map a box from original pixels to the model's pixels."""
        return _scale(box, self.model_width / self.width, self.model_height / self.height)

    def to_original(self, box: Box) -> Box:
        """Map a box from the model's pixels to original pixels."""
        return _scale(box, self.width / self.model_width, self.height / self.model_height)


def _scale(box: Box, x: float, y: float) -> Box:
    return (box[0] * x, box[1] * y, box[2] * x, box[3] * y)
