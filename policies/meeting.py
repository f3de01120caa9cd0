"""Meeting sets of words: plain ones, and sites and categories, whose members may lie within each other."""

from collections.abc import Callable
from functools import partial

ANY = frozenset({"*"})


def meet_sets(ours: frozenset[str], theirs: frozenset[str]) -> frozenset[str]:
    """Return the words of both; `*` stands for any."""
    if "*" in ours:
        return ANY if "*" in theirs else theirs
    return ours if "*" in theirs else ours & theirs


def _meet_trees(ours: frozenset[str], theirs: frozenset[str], above: Callable[[str], frozenset[str]]) -> frozenset[str]:
    """Meet sets whose members may lie within each other; of those that do, keep the wider.

    Whoever asks may name a thousand, so each is looked up by what it lies within and not held against each other one.
    """
    if len(ours) == 1 and ours == theirs:
        return ours
    both = {each for each in ours if theirs & above(each)} | {each for each in theirs if ours & above(each)}
    return frozenset(each for each in both if not (above(each) - {each}) & both)


def _above_host(site: str) -> frozenset[str]:
    labels = site[1:].split(".") if site.startswith("=") else []
    return frozenset({"*", site, *(".".join(labels[start:]) for start in range(len(labels)))})


def _above_path(path: str) -> frozenset[str]:
    steps = path.split("/")
    return frozenset({"*", *("/".join(steps[:end]) for end in range(1, len(steps) + 1))})


meet_sites = partial(_meet_trees, above=_above_host)
meet_categories = partial(_meet_trees, above=_above_path)
