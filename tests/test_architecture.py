"""The shape of the code is tested like its behaviour."""

import ast
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "tonewise"
MODULES = sorted(SRC.rglob("*.py"))
TESTS = Path(__file__).parent


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_says_what_it_holds_in_one_line_and_fits_on_ten_screens(path: Path) -> None:
    source = path.read_text("utf-8")
    doc = ast.get_docstring(ast.parse(source)) or ""
    assert 10 <= len(doc.splitlines()[0]) <= 110
    assert source.count("\n") <= 450


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_no_function_is_longer_than_a_screen(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name


def test_every_room_has_its_tests() -> None:
    rooms = {
        path.stem if path.suffix else path.name for path in SRC.iterdir() if not path.name.startswith("_")
    }
    tested = {path.stem.removeprefix("test_") for path in TESTS.iterdir()}
    assert rooms - tested <= {"py"}  # py.typed holds nothing
