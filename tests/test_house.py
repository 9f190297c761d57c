"""The house rules: who may import whom, how long a file is, what is documented."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mtl_jax
from mtl_jax import weighting
from mtl_jax.weighting import citations, tables

PACKAGE = Path(mtl_jax.__file__).parent
ROOT = PACKAGE.parent

BELOW = {
    # module or package: what it may import of the others, besides itself
    "_version": "",
    "typing": "",
    "errors": "",
    "factories": "errors",
    "tree": "typing errors",
    "solvers": "typing errors",
    "weighting": "typing errors factories tree solvers",
    "engine": "typing errors tree solvers weighting",
    "stacked": "typing",
    "losses": "typing errors factories",
    "metrics": "typing errors factories",
    "tasks": "typing errors losses metrics",
    "together": "typing errors stacked losses tasks",
    "models": "typing errors stacked",
    "data": "typing errors factories",
    "parallel": "typing errors",
    "checkpoint": "typing errors stacked",
    "report": "typing errors",
    "config": "typing errors",
    "diagnostics": "typing errors",
    "compilation_cache": "",
    "research": "typing errors weighting",
    "objective": "typing errors stacked engine losses tasks together models pretexts",
    "pretexts": "typing stacked tasks models",
    "train": (
        "typing errors tree weighting engine losses metrics tasks models data "
        "parallel checkpoint diagnostics objective stacked together pretexts"
    ),
    "build_model": "typing errors config losses models tasks",
    "build_balance": "typing errors config data",
    "build_pretexts": "typing errors config data models tasks build_model",
    "build_data": (
        "typing errors config data build_balance build_pretexts build_model"
    ),
    "build": (
        "typing errors config data losses metrics models tasks weighting build_model "
        "build_balance build_pretexts build_data parts"
    ),
    "parts": "typing errors stacked",
    "transfer": "typing errors config models stacked trained",
    "study": "config report run",
    "distil": "errors config data report tasks train trained",
    "run": "typing errors config data build checkpoint report train tasks parallel"
    " weighting build_balance build_pretexts distil transfer models",
    "trained": "typing errors config data build checkpoint train",
    "ensembles": (
        "typing errors config data losses metrics tasks together build train trained"
    ),
    "tuning": ("errors config data models tasks weighting build train distil transfer"),
    "averaged": "typing errors stacked config build train trained",
    "deploy": "typing errors stacked models tasks train",
    "exported": "build deploy train trained",
    "commands": (
        "typing errors config data weighting report train run trained compilation_cache"
        " deploy ensembles exported tuning"
    ),
    "cli": "_version train commands",
    "__main__": "cli",
    "__init__": "_version data engine losses metrics models tasks train weighting",
}
ANYWHERE = {"jax", "numpy", "optax"}
ONLY_IN = {
    "flax": {"models", "build_model"},
    "tensorflow_datasets": {"data"},
    "sklearn": {"data"},
    "grain": {"data"},
    "PIL": {"data"},
    "pyarrow": {"data"},
    "orbax": {"checkpoint"},
    "matplotlib": {"report"},
    "rich": {"report"},
    "tensorboardX": {"report"},
}
LONGEST = 400
LAZY = (
    "tensorflow_datasets",
    "tensorflow",
    "orbax",
    "array_record",
    "PIL",
    "pyarrow",
    "grain",
    "sklearn",
    "scipy",
    "matplotlib",
    "rich",
    "tensorboardX",
    "flax.nnx",
    "mtl_jax.checkpoint",
    "mtl_jax.report",
    "mtl_jax.cli",
)
"""What `import mtl_jax` does not load, unless jax, flax or optax do."""

FILES = sorted(PACKAGE.rglob("*.py"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def place(path):
    """The module or package directly below `mtl_jax` that a file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """`(line, dotted name)` of everything that a file imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: a relative import"
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}"


def test_the_table_knows_every_module():
    found = {place(path) for path in FILES}
    assert found == set(BELOW), "keep the table BELOW in step with the package"
    for name, allowed in BELOW.items():
        assert set(allowed.split()) <= set(BELOW), name


def test_the_table_has_no_cycle():
    left = {name: set(allowed.split()) for name, allowed in BELOW.items()}
    while left:
        free = [name for name, needs in left.items() if not needs & set(left)]
        assert free, f"a cycle among {sorted(left)}"
        for name in free:
            del left[name]


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_a_file_imports_only_what_is_below_it(path):
    here, wrong = place(path), []
    allowed = {here, *BELOW[here].split()}
    for line, name in imports(path):
        first, _, rest = name.partition(".")
        if first == "mtl_jax":
            good = rest.partition(".")[0] in allowed
        elif first in ONLY_IN:
            good = here in ONLY_IN[first]
        else:
            good = first in ANYWHERE or first in sys.stdlib_module_names
        if not good:
            wrong.append(f"{name_of(path)}:{line} imports {name}")
    assert not wrong


def test_benchmarks_and_configs_are_imported_by_nobody():
    for path in [*FILES, *ROOT.glob("configs/*.py"), *ROOT.glob("benchmarks/*.py")]:
        firsts = {name.partition(".")[0] for _, name in imports(path)}
        assert not firsts & {"benchmarks", "configs", "tests"}, path


def test_no_file_is_too_long():
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in FILES}
    assert not {name: n for name, n in lengths.items() if n > LONGEST}


def test_no_module_is_called_utils():
    banned = {"utils", "util", "helpers", "misc", "common"}
    parts = {name_of(p): set(p.with_suffix("").parts) & banned for p in FILES}
    assert not {name: found for name, found in parts.items() if found}


def loaded_by(statement):
    code = f"{statement}; import sys; print(*sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(answer.stdout.split())


def test_the_import_is_lazy():
    more = loaded_by("import mtl_jax") - loaded_by("import jax, flax, optax")
    assert "mtl_jax.train.fit" in more
    assert not more & set(LAZY)


@pytest.mark.parametrize("name", weighting.METHODS)
def test_a_method_is_documented(name):
    factory = weighting.METHODS[name]
    text = inspect.getdoc(factory) or ""
    sections = ["Returns:", "Example:", "References:"]
    if inspect.signature(factory).parameters:
        sections.append("Args:")
    missing = [section for section in sections if f"\n{section}\n" not in text]
    assert not missing
    assert "    >>> " in text
    found = weighting.describe(name)
    assert found.summary
    assert "?" not in found.heads, "say 'Heads get …' in the docstring"
    # A method that has no paper says so, and why.
    year = re.search(r"\b(19|20)\d\d\b", found.reference)
    assert year or found.reference.startswith("None: "), found.reference


@pytest.mark.parametrize("name", weighting.METHODS)
def test_a_method_can_be_cited(name):
    if name in citations.FOLKLORE:
        with pytest.raises(ValueError, match="no paper of its own"):
            weighting.citation(name)
        return
    entry = weighting.citation(name)
    assert re.match(rf"@\w+{{{name},\n", entry)
    for part in ("author = {", "title = {", "year = {"):
        assert part in entry
    # The docstring and the entry name the same first author.
    author = weighting.describe(name).paper.split(" and ")[0].split(" et al")[0]
    author = author.rstrip("0123456789 ")
    assert author in weighting.describe(name).reference


def test_the_table_of_methods_in_the_readme_is_the_one_that_the_command_prints():
    text = (ROOT / "README.md").read_text()
    for row in tables.markdown_table().splitlines():
        assert row in text, "run `mtl-jax methods --markdown` and paste it"


def undocumented(node, prefix=""):
    """Dotted names of public functions, classes and methods without a docstring."""
    for child in ast.iter_child_nodes(node):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        if not isinstance(child, kinds) or child.name.startswith("_"):
            continue
        if ast.get_docstring(child) is None:
            yield prefix + child.name
        if isinstance(child, ast.ClassDef):
            yield from undocumented(child, f"{prefix}{child.name}.")


def test_everything_public_has_a_docstring():
    missing = []
    for path in FILES:
        tree = ast.parse(path.read_text())
        if ast.get_docstring(tree) is None:
            missing.append(name_of(path))
        missing += [f"{name_of(path)}: {name}" for name in undocumented(tree)]
    assert not missing
