import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_r1_grpo import ConfigError, Refinement, load_config
from vision_r1_grpo.rewards import RefinementState
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
        ((0.0, 0.5), ((0.5, 0.5, 0.75),), "one entry per row, got 2 and 1"),
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


ROWS = ((0.5, 0.5, 0.75), (0.75, 0.75, 0.95))


@pytest.mark.parametrize(
    ("kind", "progress", "xi0", "xi2"),
    [
        ("staged", 0.99, 0.5, 0.75),
        ("linear", 0.0, 0.5, 0.75),
        ("linear", 0.2, 0.5, 0.75),
        ("linear", 0.4, 0.5625, 0.8),
        ("linear", 0.6, 0.625, 0.85),
        ("linear", 1.0, 0.75, 0.95),
        ("cosine", 0.0, 0.5, 0.75),
        ("cosine", 0.4, 0.5 + 0.25 * 0.1464466, 0.75 + 0.2 * 0.1464466),  # (1 - cos(pi / 4)) / 2
        ("cosine", 0.6, 0.625, 0.85),
        ("cosine", 1.0, 0.75, 0.95),
    ],
)
def test_the_way_between_two_rows(kind, progress, xi0, xi2):
    """The first row holds to .2, and the second is reached at the end."""
    refinement = Refinement((0.0, 0.2, 1.0), (ROWS[0], *ROWS), kind)
    thresholds = refinement(progress)
    assert (thresholds.xi0, thresholds.xi2) == pytest.approx((xi0, xi2))
    assert thresholds.xi0 == thresholds.xi1


rows = st.tuples(*[st.floats(0, 1)] * 3).map(lambda row: (row[0], *sorted(row[1:])))


@given(
    st.sampled_from(["linear", "cosine"]),
    rows,
    rows,
    st.floats(1e-3, 1),
    st.lists(st.floats(0, 1), min_size=2, max_size=2).map(sorted),
)
def test_thresholds_stay_between_their_rows_and_go_one_way(kind, first, second, end, steps):
    refinement = Refinement((0.0, end), (first, second), kind)
    before, after = (dataclasses.astuple(refinement(progress)) for progress in steps)
    for a, x, y, b in zip(first, before, after, second, strict=True):
        assert min(a, b) - 1e-12 <= x <= max(a, b) + 1e-12
        assert (y - x) * (b - a) >= -1e-12


ADAPTIVE = Refinement(thresholds=(*ROWS, (0.9, 0.9, 1.0)), kind="adaptive", level=0.8, window=2)


def test_an_adaptive_refinement_advances_when_the_share_has_held_for_the_window():
    state, stages = RefinementState(), []
    for share in (0.8, 0.79, 0.9, 0.8, 0.9, 0.0, 1.0, 1.0, 1.0):
        state = ADAPTIVE.advance(state, share)
        stages.append(state.stage)
    assert stages == [0, 0, 0, 1, 1, 1, 1, 2, 2]


def test_an_adaptive_refinement_goes_by_its_state_not_by_progress():
    for progress in (0.0, 0.5, 1.0):
        assert ADAPTIVE(progress) == FIRST
        assert ADAPTIVE(progress, RefinementState(1)) == Thresholds(0.75, 0.75, 0.95)
        assert ADAPTIVE.stage(progress, RefinementState(2)) == 2


@pytest.mark.parametrize("refinement", [Refinement.staged(0.5), Refinement((0.0, 1.0), ROWS, "linear")])
def test_the_other_kinds_have_no_state(refinement):
    assert refinement.advance(RefinementState(), 1.0) == RefinementState()
    assert [refinement.stage(progress) for progress in (0.0, 0.4, 1.0)] == [0, 0, 1]


@given(st.lists(st.floats(0, 1), max_size=30), st.integers(0, 30))
def test_a_state_that_was_saved_goes_on_as_if_it_had_not_been(shares, cut):
    def run(state, some):
        for share in some:
            state = ADAPTIVE.advance(state, share)
        return state

    saved = dataclasses.asdict(run(RefinementState(), shares[:cut]))
    assert run(RefinementState(**saved), shares[cut:]) == run(RefinementState(), shares)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "cosin"}, "known are staged, linear, cosine, adaptive; did you mean 'cosine'"),
        ({"kind": "linear"}, "at least 2 rows for linear, got 1"),
        ({"kind": "cosine", "thresholds": ROWS}, "one entry per row, got 1 and 2"),
        ({"kind": "adaptive"}, "at least 2 rows for adaptive, got 1"),
        ({"kind": "adaptive", "thresholds": ROWS, "begins": (0.0, 0.5)}, "begins is not of adaptive"),
        (
            {"kind": "adaptive", "thresholds": ROWS, "level": 0.0},
            "level must be above 0 and at most 1, got 0",
        ),
        ({"kind": "adaptive", "thresholds": ROWS, "window": 0}, "window must be at least 1, got 0"),
        ({"level": 0.5}, "level and refinement.window are of adaptive; kind is staged"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Refinement(**settings)


def test_refinement_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Refinement().begins = (0.5,)


def test_refinement_from_yaml(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("begins: [0, 0.5]\nthresholds: [[0.5, 0.5, 0.75], [0.75, 0.75, 0.9]]\n")
    assert load_config(Refinement, recipe) == Refinement.staged(0.5)


def test_an_adaptive_refinement_from_yaml(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "kind: adaptive\nlevel: 0.8\nwindow: 2\n"
        "thresholds: [[0.5, 0.5, 0.75], [0.75, 0.75, 0.95], [0.9, 0.9, 1.0]]\n"
    )
    assert load_config(Refinement, recipe) == ADAPTIVE


def test_a_bad_refinement_in_yaml_is_one_line(tmp_path):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("begins: [0.5]\nthresholds: [[0.5, 0.5, 0.75]]\n")
    with pytest.raises(ConfigError, match=r"^refinement.begins must rise from 0, got .*$"):
        load_config(Refinement, recipe)
