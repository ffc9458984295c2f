"""Which samples a step trains on: an endless order that the seed fixes, without prompts that are too long."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch

from vision_r1_data import Sample
from vision_r1_grpo.config import ConfigError, GRPOConfig
from vision_r1_grpo.engine import Engine
from vision_r1_grpo.policy import Prompt


@dataclass(frozen=True)
class Draw:
    """What one step reads.

    Args:
        samples: this rank's share.
        prompts: of these samples.
        drawn: places of the order that are behind all ranks now.
        dropped: ids of the samples left out on the way, over all ranks, as their prompts are too long.
    """

    samples: list[Sample]
    prompts: list[Prompt]
    drawn: int
    dropped: tuple[str, ...]


class Feed:
    """Deals the samples out to the ranks.

    Every epoch has an order of its own. A prompt of more than `max_prompt_tokens` is left out, never cut, and
    the next of the order takes its place, so that every rank has as many prompts as the others. What a step
    trains on follows from the seed and `drawn` alone, whatever the number of ranks.

    Args:
        config: the run.
        dataset: the samples.
        encode: sample -> its prompt.
        engine: the ranks.
    """

    def __init__(
        self,
        config: GRPOConfig,
        dataset: Sequence[Sample],
        encode: Callable[[Sample], Prompt],
        engine: Engine,
    ) -> None:
        self.seed, self.limit = config.seed, config.max_prompt_tokens
        self.dataset, self.encode, self.engine = dataset, encode, engine

    def draw(self, drawn: int, count: int) -> Draw:
        """The next `count` prompts of all ranks after the first `drawn` places of the order.

        Raises:
            ConfigError: as many prompts on end as there are samples are too long.
        """
        encoded: dict[int, Prompt] = {}
        kept: list[int] = []
        dropped: list[int] = []
        while len(kept) < count:
            places = range(drawn, drawn + count - len(kept))
            drawn = places.stop
            for place, fits in zip(places, self._fit(places, encoded), strict=True):
                (kept if fits else dropped).append(place)
            if not kept and len(dropped) >= len(self.dataset):
                raise ConfigError(
                    f"max_prompt_tokens {self.limit}: every prompt has more, such as that of sample "
                    f"{self.sample(dropped[0]).id!r}; raise it, or lower the image processor's max_pixels"
                )
        own = kept[self.engine.rank :: self.engine.world_size]
        samples = [self.sample(place) for place in own]
        prompts = [
            encoded[place] if place in encoded else self.encode(sample)
            for place, sample in zip(own, samples, strict=True)
        ]
        return Draw(samples, prompts, drawn, tuple(self.sample(place).id for place in dropped))

    def sample(self, place: int) -> Sample:
        """The sample at a place of the order."""
        epoch, number = divmod(place, len(self.dataset))
        return self.dataset[_epoch_order(self.seed, epoch, len(self.dataset))[number]]

    def _fit(self, places: range, encoded: dict[int, Prompt]) -> list[bool]:
        """Whether each prompt is short enough; every rank encodes its share of them and tells the others."""
        if self.limit is None:
            return [True] * len(places)
        too_long = torch.zeros(len(places))
        for at in range(self.engine.rank, len(places), self.engine.world_size):
            prompt = encoded[places[at]] = self.encode(self.sample(places[at]))
            too_long[at] = len(prompt.input_ids) > self.limit
        return [not bool(flag) for flag in self.engine.sum(too_long).tolist()]


@lru_cache(maxsize=2)
def _epoch_order(seed: int, epoch: int, size: int) -> list[int]:
    order = list(range(size))
    random.Random(f"{seed}/{epoch}").shuffle(order)
    return order
