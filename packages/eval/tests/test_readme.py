import doctest
from pathlib import Path


def test_the_example_of_the_readme_prints_what_it_says():
    readme = Path(__file__).parents[1] / "README.md"
    assert doctest.testfile(str(readme), module_relative=False).failed == 0
