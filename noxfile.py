"""The one entry for everything: `nox -l` lists the sessions, `nox -s NAME` runs one."""

import hashlib
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2026.4"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "none"

# In the order of their dependencies: the ground first.
PACKAGES = ("ops", "data", "grpo", "eval", "tiny", "meta")
IMPORTS = {name: "vision_r1" if name == "meta" else f"vision_r1_{name}" for name in PACKAGES}
# Beside the packages: the tools, what makes ops fast (Triton's kernels are compiled without a GPU too), the
# peers that it is measured beside, and photographs to test with.
TOOLS = ("pytest", "pytest-benchmark", "hypothesis", "ruff", "mypy", "scikit-image", "peft", "tensorboard")
FAST, PEERS = ("numba", "triton"), ("lapx", "torch-linear-assignment")
OFFLINE = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# Tiny operations gain nothing from a second thread, and stall where the machine is busy with something else.
TESTING = {**OFFLINE, "OMP_NUM_THREADS": "1"}
CONSTRAINTS = Path("constraints.txt").resolve()
SHARED = Path(".nox/vision-r1").resolve()
ALONE = Path(".nox/alone").resolve()


def shared_python(session: nox.Session) -> str:
    """The Python of the one environment that sessions share; installs only when what it holds has changed."""
    python, stamp = str(SHARED / "bin" / "python"), SHARED / "installed"
    sources = [CONSTRAINTS, Path(__file__), *(Path("packages", name, "pyproject.toml") for name in PACKAGES)]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    if not stamp.exists() or stamp.read_text() != wanted:
        session.run(sys.executable, "-m", "virtualenv", "--quiet", str(SHARED))
        install = (python, "-m", "pip", "install", "--quiet", "--constraint", str(CONSTRAINTS))
        # deepspeed is built from source, in isolation; the packages are built in the environment itself.
        session.run(*install, "hatchling", "editables", "deepspeed", *TOOLS, *FAST, *PEERS)
        editables = [arg for name in PACKAGES for arg in ("--editable", f"packages/{name}")]
        session.run(*install, "--no-build-isolation", *editables)
        stamp.write_text(wanted)
    return python


@nox.session
def quickstart(session: nox.Session) -> None:
    """Train a tiny model with vision-guided rewards and write a report; options follow `--`."""
    python = Path(shared_python(session))
    session.run(str(python.parent / "vision-r1"), "quickstart", *session.posargs, env=OFFLINE)


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests and doctests, or those of one package: `nox -s tests -- ops -k iou`."""
    paths, options = ["packages", "tests"], session.posargs
    if options and options[0] in (*PACKAGES, "tests"):
        name, *options = options
        paths = ["tests"] if name == "tests" else [f"packages/{name}"]
    python = shared_python(session)
    session.run(python, "-m", "pytest", "--doctest-modules", *paths, *options, env=TESTING)


def trl_python(session: nox.Session) -> str:
    """The Python of a fresh environment with TRL and our packages."""
    session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(ALONE / "trl"))
    python = str(ALONE / "trl" / "bin" / "python")
    install = (python, "-m", "pip", "install", "--quiet", f"--constraint={CONSTRAINTS}")
    session.run(*install, "trl", *(f"./packages/{name}" for name in ("ops", "data", "grpo", "tiny")))
    session.run(*install, "--no-deps", "torchvision")  # its own build of torch would replace one for the CPU
    return python


@nox.session
def trl(session: nox.Session) -> None:
    """Train the tiny model with TRL and our reward for three steps, in an environment of its own."""
    session.run(trl_python(session), "packages/grpo/tests/integrations/run_trl.py", env=TESTING)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the style and the format of all Python files with ruff."""
    python = shared_python(session)
    session.run(python, "-m", "ruff", "check", ".")
    session.run(python, "-m", "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types of every package and benchmark with mypy, strictly."""
    python, sources = shared_python(session), [f"packages/{name}/src" for name in PACKAGES]
    session.run(python, "-m", "mypy", *sources, "benchmarks", "--exclude=/.*-.*/", *session.posargs)
    for folder in Path("benchmarks").glob("*-*"):  # no packages, so their modules have the same names
        session.run(python, "-m", "mypy", str(folder), *session.posargs, env={"MYPYPATH": "benchmarks"})


@nox.session
def bench(session: nox.Session) -> None:
    """Run one benchmark: `nox -s bench -- quickstart`; without a name, say which there are."""
    known = sorted(path.parent.name for path in Path("benchmarks").glob("*/run.py"))
    if not session.posargs or session.posargs[0] not in known:
        session.error(f"name one of the benchmarks: {', '.join(known)}")
    name, *options = session.posargs
    peers = [trl_python(session)] if name == "grpo-vs-trl" else []
    session.run(shared_python(session), f"benchmarks/{name}/run.py", *peers, *options, env=OFFLINE)


@nox.session
def docs(session: nox.Session) -> None:
    """Check that every link of the documentation leads somewhere and that its examples run."""
    pages = [Path("README.md"), *Path("docs").rglob("*.md"), *Path("packages").glob("*/README.md")]
    args = ("-m", "pytest", "--doctest-glob=*.md", "tests/test_docs.py", *map(str, pages))
    session.run(shared_python(session), *args, *session.posargs, env=OFFLINE)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every wheel, install each alone into a fresh environment, import it and run its doctests."""
    python, built = shared_python(session), ALONE / "wheels"
    pip = ("-m", "pip", "--quiet")
    for old in built.glob("*.whl"):
        old.unlink()
    sources = [f"./packages/{name}" for name in PACKAGES]
    session.run(python, *pip, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={built}", *sources)
    for name in session.posargs or PACKAGES:
        (wheel,) = built.glob(f"{IMPORTS[name]}-*.whl")
        session.run(sys.executable, "-m", "virtualenv", "--quiet", "--clear", str(ALONE / "env"))
        alone = str(ALONE / "env" / "bin" / "python")
        install = (alone, *pip, "install", f"--constraint={CONSTRAINTS}", f"--find-links={built}")
        session.run(*install, str(wheel))
        session.run(alone, "-I", ".ci/try_alone.py", IMPORTS[name], env=OFFLINE)
