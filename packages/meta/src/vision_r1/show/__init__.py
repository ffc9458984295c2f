"""Look at a data set: what it holds in numbers, and some of its samples drawn."""

from vision_r1.show.gallery import write_gallery
from vision_r1.show.statistics import Statistics

__all__ = ["Statistics", "write_gallery"]
