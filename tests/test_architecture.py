"""The rules of the house: who imports whom, who writes, which tables start with the person, and how large things are."""

import ast
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from broker import db
from broker.migrations import tables as _tables  # noqa: F401 - every table must be known
from broker.vault import models as vault

ROOT = Path(__file__).resolve().parents[1]
# Capabilities in order of rank: a folder's lower half may use only what stands above it.
RANK = ("vault", "ledger", "notices", "people", "factors", "keys", "vendors", "terms", "grants", "oauth", "events", "moves", "imports", "insights", "backups", "exports", "restores", "home")
ORDER = ("models", "queries", "actions")
# Pure or leaf modules of the lower half, by folder, beside models, queries and actions.
LEAVES = {
    "vault": {"envelope", "derive", "slots", "keys", "vault", "epochs", "processes", "heads", "credentials", "passwords", "signing", "backups", "turns", "files"},
    "ledger": {"proofs", "merkle", "notes", "verifier", "standalone", "checkpoints", "bundles", "sentences", "narrowings"},
    "notices": {"sentences"},
    "people": {"agents"},
    "factors": {"passkeys", "codes"},
    "terms": {"sentences"},
    "grants": {"sentences", "agreements", "statements", "agreed", "details", "files", "cuts"},
    "vendors": {"words", "checks", "documents"},
    "oauth": {"gate", "assertion", "dpop", "callers"},
    "events": {"shape", "urls", "sites", "searches", "products", "stored", "answering", "finding", "kinds", "leaving"},
    "moves": {"package", "contents"},
    "backups": {"copies", "names"},
    "exports": {"periods", "packages", "sheets", "readme"},
    "restores": {"checks"},
    "insights": {"totals", "belongings", "recurring", "figures", "views"},
    "imports": {
        "sources",
        "chromium",
        "firefox",
        "purchases",
        "amazon",
        "browsers",
        "reports",
        "databases",
        "visits",
        "tables",
        "money",
        "times",
        "columns",
        "incoming",
        "findings",
        "rooms",
        "work",
        "files",
    },
}
UPPER = {
    "schemas", "api", "answers", "pages", "endpoints", "metadata", "server", "consent", "choices", "standing", "cli", "forms", "folds", "changes", "effects",
    "described", "replays", "unused",
}  # fmt: skip
GATES = {
    "problems", "session", "confirming", "access", "current", "headers", "layout", "health", "documentation", "cors", "terminal", "verifying", "openapi",
    "description", "plainly", "quota", "wellknown",
}  # fmt: skip
# What is joined into the one file that checks bundles beside nothing but `cryptography`.
VERIFIER = [ROOT / "broker" / "ledger" / f"{name}.py" for name in ("merkle", "notes", "verifier")]
GROUND = {"ballast", "clock", "config", "errors", "db", "writer", "opening", "fetching", "migrations", "limits", "rows", "words", "plots"}
# They put the whole together.
TOP = {"__init__", "__main__", "serving", "demo", "synthetic", "refresh"}
# Tables that belong to nobody in the household.
NOBODYS = {
    "vendors", "clients", "invites", "sign_up_links", "pushed_requests", "used_ids", "used_challenges", "slots", "processes", "epochs", "host_keys", "marks",
    "removed_slots", "times",
}  # fmt: skip
FILE, FUNCTION, MOST_FUNCTIONS = 400, 50, 30
MOST_OF_POLICIES = 2500


def sources(*folders: str) -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return [path for path in found if "__pycache__" not in path.parts and "vendor" not in path.relative_to(ROOT).parts[1:2] + path.relative_to(ROOT).parts[2:3]]


def imports(path: Path) -> Iterator[str]:
    """Absolute names of what a module imports, `from broker.x import y` as broker.x.y where y is a module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                is_module = (ROOT / full.replace(".", "/")).with_suffix(".py").exists() or (ROOT / full.replace(".", "/")).is_dir()
                yield full if is_module else str(node.module)


def place(name: str) -> tuple[str, str] | None:
    """(folder, module) of a broker module; the folder is empty for those at the top."""
    parts = name.split(".")
    if parts[0] != "broker":
        return None
    if len(parts) >= 3 and parts[1] in RANK:
        return parts[1], parts[2]
    return ("", parts[1]) if len(parts) > 1 else ("", "__init__")


def half(folder: str, module: str) -> str:
    if folder:
        if module in UPPER:
            return "upper"
        assert module in ORDER or module == "__init__" or module in LEAVES.get(folder, set()), f"broker/{folder}/{module}.py has no place in the house"
        return "lower"
    if module in TOP:
        return "top"
    assert module in GATES | GROUND, f"broker/{module}.py has no place in the house"
    return "gate" if module in GATES else "ground"


def test_policies_stand_alone() -> None:
    standard = sys.stdlib_module_names
    for path in sources("policies"):
        for name in imports(path):
            assert name.split(".")[0] in standard | {"policies"}, f"{path.name} imports {name}"


def test_clients_speak_http_only() -> None:
    for path in sorted((ROOT / "clients").rglob("*.py")):
        for name in imports(path):
            assert name.split(".")[0] not in {"broker", "policies"}, f"{path} imports {name}"


def module_of(path: Path) -> tuple[str, str]:
    relative = path.relative_to(ROOT / "broker").with_suffix("")
    return (relative.parts[0], relative.parts[1]) if relative.parts[0] in RANK and len(relative.parts) > 1 else ("", relative.parts[0])


@pytest.mark.parametrize(
    "path", [path for path in sources("broker") if "migrations" not in path.parts and "static" not in path.parts], ids=lambda p: str(p.relative_to(ROOT))
)
def test_imports_follow_the_rank(path: Path) -> None:
    folder, module = module_of(path)
    mine = half(folder, module)
    if mine == "top":
        return
    for name in imports(path):
        target = place(name)
        if target is None or target == (folder, module):
            continue
        other, part = target
        theirs = half(other, part)
        assert theirs != "top" or part == "__init__", f"{path.name} imports {name}: only the top sees all"
        if mine == "ground":
            assert theirs == "ground" or other == "vault" or part in {"limits", "__init__"}, f"{path.name} imports {name}"
        if mine == "lower":
            assert theirs in {"lower", "ground"} or part == "__init__", f"{path.name} imports {name}: a lower half stands on lower halves above it"
            if other and other != folder:
                assert RANK.index(other) < RANK.index(folder), f"{path.name} imports {name}: that folder stands below"
            if other == folder and part in ORDER and module in ORDER:
                assert ORDER.index(part) < ORDER.index(module), f"{path.name} imports {name}: models, then queries, then actions"
        if mine == "gate":
            assert theirs != "upper", f"{path.name} imports {name}: gates stand on the lower half"
        if mine == "upper" and theirs == "upper":
            assert other == folder, f"{path.name} imports {name}: another folder's upper half"


WRITES = {"insert", "update", "delete", "upsert"}


def test_only_actions_write() -> None:
    for path in sources("broker"):
        folder, module = module_of(path)
        if module == "actions" or folder == "vault" or "migrations" in path.parts:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in {"sqlalchemy", "broker.db"}
            for alias in node.names
        }
        if path.name == "db.py":
            continue
        assert not names & WRITES, f"{path} can write: {names & WRITES}"


def test_ciphers_live_in_the_vault() -> None:
    """K83."""
    for path in sources("broker", "policies"):
        uses = {name for name in imports(path) if name.split(".")[0] == "cryptography"}
        if path in VERIFIER:
            # They open nothing: whoever has only these can check signatures with them.
            uses -= {"cryptography.exceptions", "cryptography.hazmat.primitives.asymmetric.ed25519"}
        assert not uses or "vault" in path.parts, f"{path} imports {uses}"


def test_the_verifier_stands_alone() -> None:
    """Three modules that need nothing but each other and `cryptography`."""
    foreign = {name for path in VERIFIER for name in imports(path) if name.split(".")[0] not in sys.stdlib_module_names}
    assert {name for name in foreign if not name.startswith("cryptography.")} == {"broker.ledger.merkle", "broker.ledger.notes"}


def test_a_persons_tables_start_with_the_person() -> None:
    for metadata in (db.metadata, vault.keys, vault.heads):
        for table in metadata.tables.values():
            first = next(iter(table.primary_key.columns)).name
            assert first == "person_id" or table.name in NOBODYS, table.name


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node, clean=False)
            yield node.name, (node.end_lineno or 0) - node.lineno + 1 - (text.count("\n") + 1 if text else 0)


def lines_without_docstrings(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    taken = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and (said := ast.get_docstring(node, clean=False)):
            taken += said.count("\n") + 1
    return text.count("\n") - taken


def test_sizes() -> None:
    files = {path: lines_without_docstrings(path) for path in sources("broker", "policies", "clients") if "migrations" not in path.parts}
    too_long = {str(path): length for path, length in files.items() if length > FILE}
    assert not too_long
    assert sorted(files.values())[len(files) // 2] <= 120
    measured = [(path, name, length) for path in files for name, length in functions(ast.parse(path.read_text(encoding="utf-8")))]
    assert not [each for each in measured if each[2] > FUNCTION]
    lengths = sorted(length for _, _, length in measured)
    assert lengths[int(len(lengths) * 0.95)] <= MOST_FUNCTIONS


def test_policies_stay_small() -> None:
    """The engine has under 2,500 lines that say something: neither blank nor docstring. Other people's formats are beside it."""
    total = 0
    for path in sources("policies"):
        if "exports" in path.parts:
            continue
        text = path.read_text(encoding="utf-8")
        said = {number for number, line in enumerate(text.splitlines(), 1) if line.strip()}
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
                said -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
        total += len(said)
    assert total < MOST_OF_POLICIES


def test_names() -> None:
    banned = {"utils", "util", "helpers", "helper", "managers", "manager", "common", "misc"}
    for path in sources("broker", "policies", "clients"):
        assert path.stem not in banned
        assert not banned & set(path.parts)


def test_every_module_opens_with_a_sentence() -> None:
    for path in [*sources("broker", "policies"), *sorted((ROOT / "tests").rglob("*.py"))]:
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert said, path
        assert said.split("\n")[0].rstrip().endswith((".", ":", ",")) or len(said.split("\n")) > 1, path


def test_every_api_route_names_its_scope(app: object) -> None:
    """Rule R4: a route under /v1 without a declared scope is refused here."""
    for rule in app.url_map.iter_rules():  # type: ignore[attr-defined]
        if rule.rule.startswith("/v1"):
            view = app.view_functions[rule.endpoint]  # type: ignore[attr-defined]
            assert getattr(view, "scope", None) in {"events:read", "events:write"}, rule


def test_pages_are_behind_sign_in(app: object) -> None:
    """Every page but those that let people in is behind `@signed_in`."""
    outside = {
        "static",
        "people.sign_up_form",
        "people.sign_up",
        "people.sign_in",
        "people.sign_in_with_password",
        "factors.sign_in_with_passkey",
        "factors.sign_in_with_code",
        "factors.recovery",
        "keys.unlock_form",
        "keys.unlock",
        "factors.sign_in_with_recovery",
        "consent.authorize",
        "oauth.par",
        "oauth.token",
        "oauth.revoke",
        "oauth.register",
    }
    for rule in app.url_map.iter_rules():  # type: ignore[attr-defined]
        endpoint = rule.endpoint
        if endpoint in outside or endpoint.split(".")[0] in {"documentation", "health", "metadata", "description", "wellknown", "events", "answers", "grants_api", "home_pages"}:
            continue
        assert getattr(app.view_functions[endpoint], "is_gate", False), f"{rule} is open"  # type: ignore[attr-defined]


def test_lock_files_name_no_host() -> None:
    for path in (*ROOT.glob("requirements*.lock"), *ROOT.glob("tests/**/package-lock.json")):
        if "node_modules" in path.parts:
            continue
        assert "://" not in path.read_text(encoding="utf-8")


def test_ranks_are_a_list() -> None:
    assert all(one != other for one, other in pairwise(RANK))
