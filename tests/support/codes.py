"""Codes that results carry for people, found where the sources write them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["codes_written"]

_CODE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_HOLDERS = frozenset({"reason", "reasons", "refusals", "flags", "missing", "place_reason"})
_ASKS = frozenset({"nobody_knows", "Refusal"})
"""What is made with a reason among its arguments."""
_MAKES = frozenset({"where", "append", "add", "array", "full", "list", "fromkeys", "astype", "_joined"})
_WHY = re.compile(r"or why |[Ww]hy it is|[Tt]he reason")
"""What a function says of itself that returns a reason in place of what it was asked for."""


def codes_written(room: Path) -> dict[str, set[str]]:
    """Files below `room` by the code that they write as a reason or a flag."""
    found: dict[str, set[str]] = {}
    for path in sorted(room.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for value in _written(node):
                if _CODE.fullmatch(value):
                    found.setdefault(value, set()).add(path.name)
    return found


def _written(node: ast.AST) -> Iterator[str]:
    return (text for said in _said(node) for text in _strings(said))


def _said(node: ast.AST) -> list[ast.expr]:
    """Expressions that become a reason or a flag by `node`."""
    match node:
        case ast.Assign(targets=targets, value=value) if any(_name(t) in _HOLDERS for t in targets):
            return [value]
        case ast.keyword(value=value) | ast.AugAssign(value=value) if _keeper(node) in _HOLDERS:
            return [value]
        case ast.Dict(keys=keys, values=values):
            of = zip(keys, values, strict=True)
            return [v for k, v in of if isinstance(k, ast.Constant) and k.value in _HOLDERS]
        case ast.Call(func=func, args=args) if _name(func) in _ASKS or _holder(func) in _HOLDERS:
            return args
        case ast.FunctionDef() if _WHY.search(ast.get_docstring(node) or ""):
            return [n.value for n in ast.walk(node) if isinstance(n, ast.Return) and n.value is not None]
    return []


def _keeper(node: ast.AST) -> str:
    return node.arg or "" if isinstance(node, ast.keyword) else _name(getattr(node, "target", node))


def _holder(func: ast.expr) -> str:
    """Name of what `holder.append(…)` or `holder.setdefault(…).append(…)` adds to."""
    if not (isinstance(func, ast.Attribute) and func.attr in {"append", "add"}):
        return ""
    to = func.value
    return _holder_of_default(to.func) if isinstance(to, ast.Call) else _name(to)


def _holder_of_default(func: ast.expr) -> str:
    return _name(func.value) if isinstance(func, ast.Attribute) and func.attr == "setdefault" else ""


def _name(node: ast.AST) -> str:
    match node:
        case ast.Subscript(value=value):
            return _name(value)
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
    return ""


def _strings(node: ast.AST) -> Iterator[str]:
    """Texts that an expression may become, not those that it asks by."""
    match node:
        case ast.Constant(value=str() as text):
            yield text
        case ast.IfExp(body=body, orelse=orelse):
            yield from _strings(body)
            yield from _strings(orelse)
        case ast.BoolOp(values=parts) | ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
            yield from (text for part in parts for text in _strings(part))
        case ast.Starred(value=value):
            yield from _strings(value)
        case ast.Call(func=func, args=args) if _name(func) in _MAKES:
            if isinstance(func, ast.Attribute):
                yield from _strings(func.value)
            yield from (text for arg in args for text in _strings(arg))
