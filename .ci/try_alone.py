"""Import an installed package and each of its public modules, and run their doctests: `try_alone.py PACKAGE`.

Needs the standard library only, so that the package meets nothing but its own dependencies.
"""

import doctest
import importlib
import pkgutil
import sys
from types import ModuleType


def public_modules(package: ModuleType) -> list[ModuleType]:
    """The package and its modules, without those that a leading underscore makes private."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    names = [info.name for info in found if "._" not in info.name]
    return [package, *map(importlib.import_module, names)]


if __name__ == "__main__":
    modules = public_modules(importlib.import_module(sys.argv[1]))
    results = [doctest.testmod(module) for module in modules]
    print(f"{sys.argv[1]}: {len(modules)} modules, {sum(result.attempted for result in results)} examples")
    sys.exit(any(result.failed for result in results))
