"""The lists of what the course needs agree: pyproject.toml, constraints.txt and environment.yml."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import MatchSpec

CONDA_NAMES = {"torch": "pytorch"}  # where conda-forge's name differs from PyPI's
CONDA_ONLY = {"python", "pip"}
MAINTAINERS = {
    "notebooks",
    "pages",
    "assignments",
}  # of classroom/tools: `make run`, `make html`, `make assignment`


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def core(project):
    return {canonicalize_name(r.name): r for r in map(Requirement, project["dependencies"])}


@pytest.fixture(scope="module")
def pins(root):
    lines = (root / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


@pytest.fixture(scope="module")
def conda(root):
    return yaml.safe_load((root / "environment.yml").read_text())


def conda_specs(conda):
    specs = [MatchSpec(line) for line in conda["dependencies"] if isinstance(line, str)]
    return {spec.name.normalized: spec for spec in specs}


def test_conda_and_pip_install_the_same_packages(core, conda):
    assert conda_specs(conda).keys() - CONDA_ONLY == {CONDA_NAMES.get(name, name) for name in core}


def test_conda_and_pip_allow_the_same_versions(core, conda):
    specs = conda_specs(conda)
    for name, requirement in core.items():
        bounds = specs[CONDA_NAMES.get(name, name)].version
        assert SpecifierSet(str(bounds)) == requirement.specifier, name


def test_conda_names_one_python_version_that_the_project_allows(project, conda):
    (python,) = (line for line in conda["dependencies"] if re.match(r"python\b", str(line)))
    version = re.fullmatch(r"python=(3\.\d+)", python)
    assert version, f"Binder reads a single version such as python=3.12 only, not {python!r}"
    assert version[1] in SpecifierSet(project["requires-python"])


def test_conda_installs_the_library_itself(conda):
    assert conda["name"] == "course"
    assert conda["channels"] == ["conda-forge"]
    assert {"pip": ["-e ."]} in conda["dependencies"]


def test_every_conda_package_says_which_lesson_needs_it(root):
    packages = re.findall(r"^  - ([a-z][\w-]*)[^:\n#]*(#.*)?$", (root / "environment.yml").read_text(), re.M)
    assert len(packages) > 10
    for name, comment in packages:
        if name not in CONDA_ONLY | {"conda-forge"}:
            assert re.match(r"# (all lessons|\d\d)\b", comment), f"{name}: {comment!r} names no lesson"


def test_constraints_are_plain_pins(root):
    """No address, file path or editable line: they would only work on the machine that wrote them."""
    for line in (root / "constraints.txt").read_text().splitlines():
        assert re.fullmatch(r"#.*|[A-Za-z0-9][\w.-]*==[\w.]+", line), line
        assert "://" not in line


def test_constraints_pin_every_dependency_inside_its_range(project, pins):
    pinned = {canonicalize_name(name): Version(version) for name, version in pins.items()}
    extras = project["optional-dependencies"]
    for requirement in map(Requirement, [*project["dependencies"], *extras["teach"], *extras["dev"]]):
        version = pinned.get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is not pinned"
        assert version in requirement.specifier, f"{requirement.name} {version} lies outside {requirement}"


def test_torch_is_pinned_to_a_release_that_every_index_carries(pins):
    assert Version(pins["torch"]).local is None, "a suffix such as +cpu exists on PyTorch's own index only"
    assert not [name for name in pins if name.startswith(("nvidia", "triton"))], "pins of a CUDA build"


def test_python_versions_are_declared_and_this_one_is_allowed(project):
    for minor in (11, 12, 13):
        assert f"Programming Language :: Python :: 3.{minor}" in project["classifiers"]
    assert "3.10" not in SpecifierSet(project["requires-python"])
    assert f"{sys.version_info.major}.{sys.version_info.minor}" in SpecifierSet(project["requires-python"])


def sources(root):
    for path in sorted((root / "course_lib").rglob("*.py")):
        yield path, path.read_text()
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        if ".ipynb_checkpoints" not in path.parts:
            cells = nbformat.read(path, as_version=4).cells
            code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
            yield path, re.sub(r"^(\s*)[%!].*$", r"\1pass", code, flags=re.M)


def test_everything_imported_is_in_the_list(root, project, core):
    teach = {canonicalize_name(Requirement(line).name) for line in project["optional-dependencies"]["teach"]}
    distributions = packages_distributions()
    ours = {"course_lib", *sys.stdlib_module_names}
    for path, source in sources(root):
        for node in ast.walk(ast.parse(source)):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - ours:
                owners = {canonicalize_name(name) for name in distributions.get(top, [top])}
                allowed = set(core) | (teach if path.stem in MAINTAINERS else set())
                if top in ("IPython", "contourpy"):  # ipykernel and matplotlib cannot be without them
                    continue
                assert owners & allowed, (
                    f"{path.relative_to(root)} imports {top}, which pyproject.toml does not list"
                )


def test_a_students_set_up_brings_no_test_tools(project, core):
    """Playwright, rattler and nbgrader with what they bring are 300 MB."""
    extras = project["optional-dependencies"]
    tools = {canonicalize_name(Requirement(line).name) for line in [*extras["dev"], *extras["teach"]]}
    assert not tools & set(core)
    assert {"playwright", "py-rattler"} <= tools and any("nbgrader" in line for line in extras["teach"])


def test_every_dependency_is_imported_somewhere(root, core):
    """Or is the place where lessons run."""
    imported = set()
    for _, source in sources(root):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = (
                    [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                )
                imported |= {name.split(".")[0] for name in names}
    owners = packages_distributions()
    used = {canonicalize_name(owner) for top in imported for owner in owners.get(top, [])}
    assert set(core) - used <= {"ipykernel"}
