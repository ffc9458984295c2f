import doctest
from pathlib import Path


def test_the_example_of_the_readme_prints_what_it_says():
    readme = Path(__file__).parents[1] / "README.md"
    result = doctest.testfile(str(readme), module_relative=False)
    assert result.attempted > 0
    assert result.failed == 0
