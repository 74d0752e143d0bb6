"""Small changes to a module that a test should notice: one changed operator, number or return each."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.Pow: ast.Mult,
}


@dataclass(frozen=True)
class Mutant:
    """A module with one change. `line` and `text` are those of the original."""

    module: str
    kind: str  # comparison, arithmetic, constant, boolean, return, loop
    line: int
    text: str
    change: str
    place: int  # of the change among all of this module
    source: str
    original: str  # the source without the change

    @property
    def key(self) -> str:
        """What a record of it is found by as long as its line stays."""
        return f"{self.module} | {self.text} | {self.kind}: {self.change}"


def mutants_of(module: str, source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its lines."""
    lines = source.splitlines()
    found: list[Mutant] = []
    place = 0
    while True:
        tree = ast.parse(source)
        picked = next((c for n, c in enumerate(_changes(tree)) if n == place), None)
        if picked is None:
            return sorted(found, key=lambda mutant: (mutant.line, mutant.place))
        kind, node, change = picked
        line = getattr(node, "lineno", 1)
        text = lines[line - 1].strip()
        found.append(Mutant(module, kind, line, text, change, place, ast.unparse(tree), source))
        place += 1


def _changes(tree: ast.Module) -> Iterator[tuple[str, ast.AST, str]]:
    """Changes the tree in place and yields; the one that was yielded before is undone first."""
    for node in list(_code(tree)):
        yield from _comparison(node)
        yield from _arithmetic(node)
        yield from _boolean(node)
        yield from _constant(node)
        yield from _return(node)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes that run: no annotations, no decorators, no docstrings."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "decorator_list", "bases"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield child
                yield from _code(child)


def _comparison(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    if not isinstance(node, ast.Compare):
        return
    for index, old in enumerate(node.ops):
        for new in COMPARISONS[type(old)]:
            node.ops[index] = new()
            yield "comparison", node, f"{_name(old)} to {new.__name__}"
            node.ops[index] = old


def _arithmetic(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node.op = ast.UAdd()
        yield "arithmetic", node, "minus to plus"
        node.op = ast.USub()
    if not isinstance(node, ast.BinOp | ast.AugAssign) or type(node.op) not in ARITHMETIC:
        return
    old = node.op
    node.op = ARITHMETIC[type(old)]()
    yield "arithmetic", node, f"{_name(old)} to {_name(node.op)}"
    node.op = old


def _boolean(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    if isinstance(node, ast.BoolOp):
        old = node.op
        node.op = ast.Or() if isinstance(old, ast.And) else ast.And()
        yield "boolean", node, f"{_name(old)} to {_name(node.op)}"
        node.op = old
    for name in ("test", "value"):
        asked = getattr(node, name, None)
        if isinstance(asked, ast.UnaryOp) and isinstance(asked.op, ast.Not):
            setattr(node, name, asked.operand)
            yield "boolean", asked, "not removed"
            setattr(node, name, asked)


def _constant(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    if not isinstance(node, ast.Constant) or isinstance(node.value, str | bytes):
        return
    old = node.value
    if old is True or old is False:
        node.value = not old
    elif isinstance(old, int):
        node.value = old + 1
    elif isinstance(old, float):
        node.value = old * 2 or 1.0
    else:
        return
    yield "constant", node, f"{old} to {node.value}"
    node.value = old


def _return(node: ast.AST) -> Iterator[tuple[str, ast.AST, str]]:
    if isinstance(node, ast.Return) and node.value is not None and not _is_none(node.value):
        old = node.value
        node.value = ast.Constant(None)
        yield "return", node, "returns None"
        node.value = old
    for name in ("body", "orelse"):
        body = getattr(node, name, None)
        if not isinstance(body, list):
            continue
        for index, statement in enumerate(body):
            if isinstance(statement, ast.Break):
                body[index] = ast.copy_location(ast.Continue(), statement)
                yield "loop", statement, "break to continue"
                body[index] = statement
            if isinstance(statement, ast.Continue):
                body[index] = ast.copy_location(ast.Pass(), statement)
                yield "loop", statement, "continue to pass"
                body[index] = statement


def _is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _name(operator: ast.AST) -> str:
    return type(operator).__name__
