"""The planted defects do not rot: each still has its place, changes something, and names tests that are there (`make defects` plants them)."""

import pytest
from planted import ROOT, Defect, caught, every

MOST_NAMED = 4


def test_there_are_enough() -> None:
    found = every()
    assert len(found) >= 60
    assert len({each.name for each in found}) == len(found)
    assert sum(each.critical for each in found) >= 40


@pytest.mark.parametrize("defect", every(), ids=lambda each: each.name)
def test_it_has_its_place(defect: Defect) -> None:
    text = (ROOT / defect.file).read_text(encoding="utf-8")
    assert text.count(defect.old) == 1, f"{defect.file} has moved on; find the place of the defect again"
    assert defect.old != defect.new
    compile(text.replace(defect.old, defect.new), defect.file, "exec")
    assert 1 <= len(defect.tests) <= MOST_NAMED
    assert all((ROOT / each).exists() for each in defect.tests)


def test_a_change_that_is_none_is_not_caught(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The control: with nothing planted the same tests pass, so that a catch means the defect."""
    tree = tmp_path_factory.mktemp("tree")
    (tree / "test_it.py").write_text("from one import ONE\n\n\ndef test_it() -> None:\n    assert ONE == 1\n")
    (tree / "one.py").write_text("ONE = 1\n")
    (tree / "conftest.py").write_text("import sys\nfrom pathlib import Path\nsys.path.insert(0, str(Path(__file__).parent))\n")
    assert not caught(tree, Defect("none", "one.py", "ONE = 1", "ONE = 1  # the same", ("test_it.py",), critical=True))
    assert caught(tree, Defect("some", "one.py", "ONE = 1", "ONE = 2", ("test_it.py",), critical=True))
    assert not caught(tree, Defect("broken run", "one.py", "ONE = 1", "ONE = 1", ("no_such_test.py",), critical=True))
