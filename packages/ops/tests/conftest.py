"""Random boxes and matching problems, as functions that tests ask for."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor


def _random_boxes(rng: np.random.Generator, *shape: int) -> Tensor:
    """Boxes of which many overlap; coordinates are halves, so ties happen."""
    low = rng.integers(0, 60, (*shape, 2)) / 2
    return torch.from_numpy(np.concatenate([low, low + rng.integers(0, 40, (*shape, 2)) / 2], -1)).float()


def _random_problems(seed: int, *, size: tuple[int, int, int] = (200, 7, 5)) -> dict[str, Tensor]:
    rng = np.random.default_rng(seed)
    n, m, k = size
    return {
        "pred": _random_boxes(rng, n, m),
        "true": _random_boxes(rng, n, k),
        "n_pred": torch.from_numpy(rng.integers(0, m + 1, n)),
        "n_true": torch.from_numpy(rng.integers(0, k + 1, n)),
        "pred_labels": torch.from_numpy(rng.integers(0, 3, (n, m))),
        "true_labels": torch.from_numpy(rng.integers(0, 3, (n, k))),
    }


@pytest.fixture(scope="session")
def random_boxes() -> Callable[..., Tensor]:
    return _random_boxes


@pytest.fixture(scope="session")
def random_problems() -> Callable[..., dict[str, Tensor]]:
    return _random_problems
