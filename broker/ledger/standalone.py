"""The verifier as one file: the very modules that the broker checks itself with, joined; it needs Python 3.11 and `cryptography` alone."""

import ast
import inspect
from types import ModuleType
from typing import Final

from broker.ledger import merkle, notes, verifier

MODULES: Final = (merkle, notes, verifier)
HEAD: Final = '''"""Checks a ledger that was downloaded from a Proffer broker, offline: python proffer_verify.py BUNDLE --key VKEY [--since NOTE]."""
'''


def text() -> str:
    """The file's text."""
    return HEAD + "".join(_body(module) for module in MODULES)


def _body(module: ModuleType) -> str:
    """A module without its docstring, and without its imports of the others."""
    source = inspect.getsource(module)
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        ours = isinstance(node, ast.ImportFrom) and (node.module or "").startswith("broker.")
        if ours or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = "\n"
    return "".join(lines)
