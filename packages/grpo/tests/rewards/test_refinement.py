import dataclasses

import pytest

from vision_r1_grpo import ConfigError, Refinement, load_config
from vision_r1_ops import Thresholds

FIRST, SECOND = Thresholds(0.5, 0.5, 0.75), Thresholds(0.75, 0.75, 0.9)


def test_the_default_stays_in_the_first_stage():
    assert Refinement()(0.0) == Refinement()(1.0) == FIRST
    assert Refinement.staged(1) == Refinement()


@pytest.mark.parametrize("step", [1 / 3, 0.5, 0.9])
def test_the_second_stage_begins_at_its_step(step):
    refinement = Refinement.staged(step)
    assert refinement(0.0) == refinement(step - 1e-9) == FIRST
    assert refinement(step) == refinement(1.0) == SECOND


def test_many_stages():
    rows = tuple((x, x, x) for x in (0.1, 0.2, 0.3, 0.4))
    refinement = Refinement((0.0, 0.25, 0.5, 0.75), rows)
    assert [refinement(p).xi0 for p in (0, 0.24, 0.25, 0.6, 0.75, 1)] == [0.1, 0.1, 0.2, 0.3, 0.4, 0.4]


@pytest.mark.parametrize(
    ("begins", "thresholds", "message"),
    [
        ((0.0, 0.5), ((0.5, 0.5, 0.75),), "one entry per stage, got 2 and 1"),
        ((), (), "must rise from 0"),
        ((0.1,), ((0.5, 0.5, 0.75),), "must rise from 0"),
        ((0.0, 0.0), ((0.5, 0.5, 0.75),) * 2, "must rise from 0"),
        ((0.0, 0.6, 0.5), ((0.5, 0.5, 0.75),) * 3, "must rise from 0"),
        ((0.0,), ((0.5, 0.8, 0.75),), "xi1 must be at most xi2"),
        ((0.0,), ((0.5, 0.5),), r"rows of \(xi0, xi1, xi2\), got \(0.5, 0.5\)"),
        ((0.0,), ((0.5, 0.5, 1.75),), r"xi2 must be in \[0, 1\]"),
    ],
)
def test_stages_that_make_no_sense_are_refused(begins, thresholds, message):
    with pytest.raises(ValueError, match=message):
        Refinement(begins, thresholds)


def test_refinement_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Refinement().begins = (0.5,)


def test_refinement_from_yaml(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("begins: [0, 0.5]\nthresholds: [[0.5, 0.5, 0.75], [0.75, 0.75, 0.9]]\n")
    assert load_config(Refinement, recipe) == Refinement.staged(0.5)


def test_a_bad_refinement_in_yaml_is_one_line(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("begins: [0.5]\nthresholds: [[0.5, 0.5, 0.75]]\n")
    with pytest.raises(ConfigError, match=r"^refinement.begins must rise from 0, got .*$"):
        load_config(Refinement, recipe)
