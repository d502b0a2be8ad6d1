"""The order of the rooms: which part may import which. The table below is the architecture's one statement."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "transformers"

# From the ground up: a room imports from itself and from the rooms above it in this table, never from those below.
# A root module belongs to the room whose matter it is.
ROOMS: dict[str, tuple[str, ...]] = {
    "utils": ("version",),
    "configuration": ("configuration_utils",),
    "kernels": (),
    "layers": ("activations",),
    "base": (),
    "methods": (),
    "modeling": ("modeling_outputs",),
    "adapters": (),
    "heads": ("modeling_utils",),
    "tokenization": ("tokenization_utils", "tokenization_utils_base", "tokenization_utils_fast"),
    "models": (),
    "exporting": (),
    "pipelines": (),
    "serving": (),
    "data": (),
    "training": (
        "deepspeed",
        "integrations",
        "optimization",
        "trainer",
        "trainer_callback",
        "trainer_pt_utils",
        "trainer_utils",
        "training_args",
    ),
    "commands": ("hf_argparser",),
    "compatibility": ("file_utils", "pytorch_utils"),
}
LARGEST_ROOT = 21


def modules() -> dict[str, Path]:
    """Give every module by its dotted path below the package, without the package itself."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


MODULES = modules()


def imports(module: str) -> Iterator[str]:
    """Name what a module imports of the package, wherever the import stands, those for types included."""
    path = MODULES[module]
    package = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            assert node.level <= len(package) + 1, f"{module} imports from above the package"
            above = package[: len(package) - node.level + 1]
            target = ".".join([*above, *(node.module or "").split(".")]).strip(".")
            for alias in node.names:
                inner = f"{target}.{alias.name}".strip(".")
                yield inner if inner in MODULES else target
        elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "transformers":
            yield (node.module or "").partition(".")[2]


def room_of(module: str) -> str:
    """Give the room that a module belongs to."""
    first = module.partition(".")[0]
    return next((room for room, roots in ROOMS.items() if first == room or first in roots), first)


@pytest.mark.parametrize("module", sorted(MODULES))
def test_arrows_run_one_way(module: str) -> None:
    order = list(ROOMS)
    assert room_of(module) in order, f"{module} stands in no room of the table"
    for target in imports(module):
        if target:  # the package itself gives its version and its lazy names
            assert order.index(room_of(target)) <= order.index(room_of(module)), f"{module} imports {target}"


def test_no_module_is_in_a_circle() -> None:
    arrows = {module: {target for target in imports(module) if target in MODULES} - {module} for module in MODULES}
    for module in arrows:  # a package's own names come from its modules
        if MODULES[module].name == "__init__.py":
            arrows[module] = {target for target in arrows[module] if not target.startswith(f"{module}.")}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, f"a circle: {' -> '.join([*way[way.index(module) :], module])}"
        if module not in done:
            for target in sorted(arrows[module]):
                visit(target, (*way, module))
            done.add(module)

    for module in sorted(arrows):
        visit(module, ())


def test_the_root_holds_the_names_that_scripts_import() -> None:
    root = sorted(path.stem for path in PACKAGE.glob("*.py"))
    assert len(root) <= LARGEST_ROOT, root


def test_every_room_says_what_it_is_for() -> None:
    for room in ROOMS:
        if (PACKAGE / room).is_dir():
            assert ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text(encoding="utf-8"))), room
