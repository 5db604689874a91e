"""What anomalies and alarms give as their evidence, read from the sources: names of fields, and sentences."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path

from models.fault_codes import CODES

_MARKS = {"rule", "numbers"}
_SENTENCES = {"rule", "cost_of"}
_OF_A_RULE = {"rule", "why"}


def evidence_names(root: Path) -> set[str]:
    """Fields of evidence, those one level deeper among them."""
    nodes = list(_walk(root))
    names = {key for table in _tables(nodes) for key in _keys(table)} - {"numbers"}
    return names | {key for table in _numbers(nodes) for key in _keys(table)}


def evidence_sentences(root: Path) -> set[str]:
    """Rules and what a cost is of, with ``{0}``, ``{1}`` … for what is filled in."""
    found = {c.rule for c in CODES.values()} | {c.lost for c in CODES.values()}
    nodes = list(_walk(root))
    for table in _tables(nodes):
        for key, value in zip(table.keys, table.values, strict=True):
            if isinstance(key, ast.Constant) and key.value in _SENTENCES:
                found.update(_texts(value))
    for node in nodes:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id in _OF_A_RULE for t in node.targets
        ):
            found.update(text for text in _texts(node.value) if " " in text)
    return found


def _walk(root: Path) -> Iterator[ast.AST]:
    for room in ("streams/operators", "models", "alerts"):
        for path in sorted((root / room).rglob("*.py")):
            if path.name != "rules_file.py":
                yield from ast.walk(ast.parse(path.read_text(encoding="utf-8")))


def _tables(nodes: Iterable[ast.AST]) -> Iterator[ast.Dict]:
    for node in nodes:
        if isinstance(node, ast.Dict) and _MARKS & set(_keys(node)):
            yield node


def _numbers(nodes: Iterable[ast.AST]) -> Iterator[ast.Dict]:
    for node in nodes:
        of = node.targets if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict) else []
        if any(isinstance(t, ast.Name) and t.id == "numbers" for t in of):
            yield node.value


def _keys(table: ast.Dict) -> list[str]:
    return [k.value for k in table.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]


def _texts(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        yield value.value
    elif isinstance(value, ast.JoinedStr):
        places = count()
        yield "".join(p.value if isinstance(p, ast.Constant) else f"{{{next(places)}}}" for p in value.values)
