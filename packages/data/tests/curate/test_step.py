import random
from collections import Counter
from dataclasses import dataclass, field, replace

from vision_r1_data import Objects, Sample
from vision_r1_data.curate import Clean, Context, Dropped, apply_steps
from vision_r1_data.curate.step import keep_objects

OBJECTS = Objects(
    ((0, 0, 1, 1), (1, 1, 2, 2), (2, 2, 3, 3)), ("a", "b", "a"), (False, True, False), ([[0] * 6], None, "c")
)


def samples(*ids: str) -> list[Sample]:
    return [Sample(id, b"", 40, 30, source="set") for id in ids]


@dataclass(frozen=True)
class Draw:
    """Writes what it draws into the stratum."""

    name: str = "draw"

    def __call__(self, sample: Sample, context: Context) -> Sample:
        return replace(sample, stratum=f"{sample.stratum}{context.rng.random()} ")


@dataclass
class Refuse:
    """Drops some, and says that every sample lost objects."""

    ids: set[str]
    lost: int = 0
    name: str = "refuse"
    seen: list[str] = field(default_factory=list)

    def __call__(self, sample: Sample, context: Context) -> Sample | Dropped:
        self.seen.append(sample.id)
        context.objects["small"] += self.lost
        return Dropped(f"is {sample.id}") if sample.id in self.ids else sample


def run(stream, steps, seed=0):
    dropped, objects = Counter(), Counter()
    kept = list(apply_steps(stream, steps, seed=seed, dropped=dropped, objects=objects))
    return kept, dropped, objects


def test_without_steps_samples_pass() -> None:
    assert run(samples("1", "2"), []) == (samples("1", "2"), Counter(), Counter())


def test_what_a_step_drops_no_later_step_sees() -> None:
    first, second = Refuse({"1", "3"}, name="first"), Refuse({"2"}, name="second")
    kept, dropped, _ = run(samples("1", "2", "3", "4"), [first, second])
    assert [sample.id for sample in kept] == ["4"]
    assert second.seen == ["2", "4"]
    assert dropped == {("first", "is 1"): 1, ("first", "is 3"): 1, ("second", "is 2"): 1}


def test_objects_are_counted_by_step_and_reason() -> None:
    _, _, objects = run(samples("1", "2"), [Refuse({"2"}, 3, "first"), Refuse(set(), 4, "second")])
    assert objects == {("first", "small"): 6, ("second", "small"): 4}


def test_no_row_says_that_no_object_was_left_out() -> None:
    assert list(run(samples("1"), [Refuse(set(), lost=0)])[2]) == []


def test_counts_go_on_where_they_are() -> None:
    dropped = Counter({("refuse", "is 1"): 5})
    list(apply_steps(samples("1"), [Refuse({"1"})], seed=0, dropped=dropped, objects=Counter()))
    assert dropped == {("refuse", "is 1"): 6}


def test_choices_depend_on_seed_source_and_id_alone() -> None:
    many = samples(*map(str, range(20)))
    drawn = {sample.id: sample.stratum for sample in run(many, [Draw(), Draw()])[0]}
    assert len(set(drawn.values())) == 20
    assert {s.id: s.stratum for s in run(many[::-1], [Draw(), Draw()])[0]} == drawn
    assert {s.id: s.stratum for s in run(many[7:9], [Refuse(set()), Draw(), Draw()])[0]} == {
        id: drawn[id] for id in ("7", "8")
    }
    (other_seed,), *_ = run(many[:1], [Draw(), Draw()], seed=1)
    (other_source,), *_ = run([replace(many[0], source="other")], [Draw(), Draw()])
    assert len({drawn["0"], other_seed.stratum, other_source.stratum}) == 3


def test_what_is_drawn_is_the_same_on_every_machine() -> None:
    assert run(samples("1"), [Draw()])[0][0].stratum == f"{random.Random('0:set:1').random()} "


def test_samples_are_taken_one_at_a_time() -> None:
    kept = apply_steps(iter(samples("1", "2")), [Draw()], seed=0, dropped=Counter(), objects=Counter())
    assert next(kept).id == "1"


def test_keep_objects_takes_all_columns_along() -> None:
    sample = Sample("1", b"", 40, 30, objects=OBJECTS)
    assert keep_objects(sample, [True] * 3) is sample
    assert keep_objects(sample, [False, True, True]).objects == Objects(
        ((1, 1, 2, 2), (2, 2, 3, 3)), ("b", "a"), (True, False), (None, "c")
    )
    assert keep_objects(sample, [False] * 3).objects == Objects()
    bare = replace(sample, objects=replace(OBJECTS, segmentations=()))
    assert keep_objects(bare, [True, False, False]).objects == Objects(((0, 0, 1, 1),), ("a",))


def test_options_are_named_as_a_recipe_names_them() -> None:
    assert Clean().name == "clean"
