"""What the program says to people, read from its source."""

import ast
from collections.abc import Iterator
from pathlib import Path

SPEAKERS = frozenset({"worded", "listed", "reported"})
"""Give a text that can be said in either language."""
REFUSERS = {"ActionRefusedError": 0, "ActionError": 0, "ScopeError": 0, "Refusal": 1, "Part": 2, "judged": 2}
"""What carries a text to the page, and the place of that text among its arguments."""


def sources(root: Path, rooms: tuple[str, ...]) -> Iterator[tuple[str, ast.Module]]:
    """Every file of `rooms`, parsed."""
    for room in rooms:
        for path in sorted((root / room).rglob("*.py")):
            yield str(path.relative_to(root)), ast.parse(path.read_text(encoding="utf-8"))


def wordings(tree: ast.Module) -> Iterator[tuple[int, str | None]]:
    """Line and text of each call of `worded`; None where what is worded is made on the spot."""
    for call in _calls(tree, {"worded"}):
        first = call.args[0]
        yield call.lineno, first.value if isinstance(first, ast.Constant) else None


def unworded(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and what is refused with a text that is English alone: a constant, or one filled in by Python."""
    for call in _calls(tree, {*REFUSERS, "HTTPException"}):
        place = REFUSERS.get(_name(call))
        if place is None:
            yield call.lineno, ast.unparse(call)
            continue
        told = call.args[place] if len(call.args) > place else None
        if isinstance(told, ast.Constant | ast.JoinedStr | ast.BinOp):
            yield call.lineno, ast.unparse(told)


def _calls(tree: ast.Module, names: set[str]) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _name(node) in names and node.args:
            yield node


def _name(call: ast.Call) -> str:
    function = call.func
    return function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
