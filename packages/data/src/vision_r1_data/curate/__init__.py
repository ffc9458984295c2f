"""Curation: named steps over streams of samples, each with its seed and its count of what it left out."""

from vision_r1_data.curate.difficulty import Difficulty
from vision_r1_data.curate.mixture import Mixture, Take
from vision_r1_data.curate.recipe import READERS, Recipe, Similar, Source, load_recipe
from vision_r1_data.curate.run import WATERFALL, curate
from vision_r1_data.curate.similar import Duplicates, HashIndex, Leakage
from vision_r1_data.curate.step import Context, Dropped, Step, apply_steps
from vision_r1_data.curate.steps import (
    Agree,
    Ask,
    Budget,
    Clean,
    Count,
    Fingerprint,
    Rename,
    Strata,
    fingerprint,
)
from vision_r1_data.curate.waterfall import Course, Waterfall, waterfall_table

__all__ = [
    "READERS",
    "WATERFALL",
    "Agree",
    "Ask",
    "Budget",
    "Clean",
    "Context",
    "Count",
    "Course",
    "Difficulty",
    "Dropped",
    "Duplicates",
    "Fingerprint",
    "HashIndex",
    "Leakage",
    "Mixture",
    "Recipe",
    "Rename",
    "Similar",
    "Source",
    "Step",
    "Strata",
    "Take",
    "Waterfall",
    "apply_steps",
    "curate",
    "fingerprint",
    "load_recipe",
    "waterfall_table",
]
