"""Keys and values in buffers that have room for what comes.

Axes: B rows, K heads, S places, D channels of a head.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

_GROWTH = 1.5


class RoomyLayer(DynamicLayer):  # type: ignore[misc]  # transformers' caches have no types
    """A layer of a cache that appends without copying what is there.

    transformers' own copies all keys and values for every token, which takes half of the time of decoding.
    """

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Start with no room."""
        super().lazy_initialization(key_states, value_states)
        self.room = [x.new_empty(*x.shape[:2], 0, x.shape[3]) for x in (key_states, value_states)]
        self.used = 0

    def update(
        self, key_states: Float[Tensor, "b k q d"], value_states: Float[Tensor, "b k q d"], *_: Any, **__: Any
    ) -> tuple[Float[Tensor, "b k s d"], Float[Tensor, "b k s d"]]:
        """Append keys and values, and return all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        end = self.used + key_states.shape[2]
        if end > self.room[0].shape[2]:
            self._grow(int(end * _GROWTH))
        for room, new in zip(self.room, (key_states, value_states), strict=True):
            room[:, :, self.used : end] = new
        self.used = end
        self.keys, self.values = (room[:, :, :end] for room in self.room)
        return self.keys, self.values

    def batch_select_indices(self, indices: Int[Tensor, " b"]) -> None:
        """Keep some of the rows."""
        self.room = [room[indices] for room in self.room]
        self.keys, self.values = (room[:, :, : self.used] for room in self.room)

    def _grow(self, size: int) -> None:
        for number, old in enumerate(self.room):
            new = old.new_empty(*old.shape[:2], size, old.shape[3])
            new[:, :, : self.used] = old[:, :, : self.used]
            self.room[number] = new


def roomy_cache() -> Cache:
    """A cache of such layers for any model whose attention sees everything before."""
    return Cache(layer_class_to_replicate=RoomyLayer)
