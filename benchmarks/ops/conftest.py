"""How calls are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .floors import card

ROUNDS = (5, 100)
SECONDS = 1.0  # of a case, within the bounds on its rounds


@pytest.fixture
def timed(benchmark: BenchmarkFixture) -> Callable[..., None]:
    """Time a call; what is said of the case goes with the result."""

    def measure(call: Callable[[], object], **case: Any) -> None:
        call()
        start = time.perf_counter()
        call()
        rounds = int(SECONDS / (time.perf_counter() - start))
        benchmark.extra_info.update(case)
        rounds = min(max(rounds, ROUNDS[0]), ROUNDS[1])
        benchmark.pedantic(call, rounds=rounds, warmup_rounds=1)  # type: ignore[no-untyped-call]

    return measure


def pytest_benchmark_update_json(output_json: dict[str, Any]) -> None:
    if card.cache_info().currsize:  # there are floors in these results
        output_json["card"] = asdict(card())
