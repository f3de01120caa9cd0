"""What stands in an export in plain words: which file is what, how to open it, how to bring it into another broker."""

import datetime as dt
from collections.abc import Collection, Mapping
from typing import Any, Final

from broker.moves.package import MANIFEST
from broker.rows import counted
from broker.words import joined, many

FILES: Final = {
    "events/*.jsonl": "your events, one a line, each as your extension or an import gave it. Programs read these.",
    "events/*.csv": "the same for a spreadsheet, one row for each thing in a cart or order, with the time the broker got it and how it came. "
    "A cell that a spreadsheet would take for a formula has an apostrophe (') before it.",
    "schemas/*.json": "what a line of each kind of event may hold (JSON Schema).",
    "terms.json": "your terms: every version, with the time since when.",
    "grants.jsonl": "every grant you gave: to whom, what it lets them see, until when, how it ended, and the page you gave it on.",
    "agreements/*.json": "the agreements that you and each vendor signed, the very bytes. `broker verify --agreement FILE` checks one.",
    "agreements/*.opening.json": "what proves which terms and which page belong to an agreement. Show it only to whom you want to prove it.",
    "agreements/*.changes.jsonl": "signed statements of what changed under an agreement, and of its end.",
    "recipients.csv": "who read your events: which vendor, why, when first and last, how often, how many rows.",
    "sent.jsonl": "which of your events each of these reads sent, by the number of its entry in the ledger.",
    "settings.json": "your name here, how long each kind of event is kept, and what you said of shops.",
    "ledger.zip": "everything that was done with your data, with proofs. Leave it packed: `broker verify ledger.zip` checks it.",
    "old-ledgers/*.zip": "the ledgers of brokers you had before this one, as they were when you left them.",
    "manifest.json": "the list of these files with their sizes and SHA-256, by which a change shows.",
}
"""Files by their names -> what they are."""
_TEXT: Final = """# Everything of yours

Taken out of your Proffer broker at {origin} on {day}.

It is all in plain words: whoever has these files can read your life as a customer. Keep them where only you can get at them,
and delete them when you no longer need them.

## What is in it

{counts}

{files}

## How to open it

Every file but the zips is text in UTF-8. Files that end in `.csv` open in a spreadsheet; the others in any editor. Times are UTC.
In a spreadsheet amounts are in units (24.50), in the `.jsonl` files in hundredths, or whatever the smallest coin of that currency is.

## How to bring it into another broker

There, choose *Import* in the menu and this zip as the file, or run `broker import FILE --person NAME` with the zip or with the folder
that `broker export` wrote. Do not change any file first: one that was changed is refused. You are shown what would come before anything is kept.

- Your events come in as any import does. What is there already is not taken twice, and you can undo it.
- Your terms come in where you have none of your own yet.
- Your grants come in ended, with their agreements, to be kept. Nobody can read by them there.
- Your ledger is kept there as it is, closed, and a new one goes on.

Your grants in the broker you leave go on until you end them there: *Grants*, then *Revoke*.
"""


def _counts(summary: Mapping[str, Any]) -> str:
    events = joined(counted(summary["events"])) or "no events"
    said = [f"There are {events}; {many(summary.get('terms', 0), 'version')} of your terms; {many(summary.get('grants', 0), 'grant')}."]
    lost = {name: number for name, number in summary["not_opened"].items() if number}
    if lost:
        named = [many(number, *_LOST.get(name, (f"event of the kind {name}", f"events of the kind {name}"))) for name, number in lost.items()]
        said.append(f"**Not all is here.** {joined(named)} could not be opened, because this broker's files are damaged. An older backup may still hold them.")
    return "\n\n".join(said)


_LOST: Final = {
    "terms": ("version of your terms", "versions of your terms"), "grants": ("grant", "grants"), "agreements": ("agreement", "agreements"),
    "old_ledgers": ("old ledger", "old ledgers"),
}  # fmt: skip


def _is_there(pattern: str, names: Collection[str]) -> bool:
    start, _, end = pattern.partition("*")
    return pattern == MANIFEST or any(name.startswith(start) and name.endswith(end) for name in names)


def text(at: dt.datetime, origin: str, summary: Mapping[str, Any], names: Collection[str]) -> bytes:
    """The README of an export with these files, in Markdown."""
    files = "\n".join(f"- `{pattern}`: {said}" for pattern, said in FILES.items() if _is_there(pattern, names))
    return _TEXT.format(origin=origin, day=f"{at:%-d %B %Y}", counts=_counts(summary), files=files).encode()
