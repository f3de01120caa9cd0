"""Entries of the ledger in plain words: who did what, under which grant, how much of it, and why not."""

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final

from broker.ledger import narrowings
from broker.words import joined, many
from policies import explain
from policies.purposes import PURPOSES
from policies.sentences import REASONS
from policies.vocabulary import ANSWERS, FIELDS, KINDS

Entry = Mapping[str, Any]
Names = Mapping[str, str]
OWN: Final = "Your extension"
ACTS: Final = {
    "give": "Grants given", "narrow": "Grants narrowed", "pause": "Grants paused", "resume": "Grants resumed", "revoke": "Grants ended",
    "expire": "Grants run out",
    "refuse": "Requests refused", "read": "Reads", "upload": "Uploads by your extension", "import": "Imports", "forget": "Events forgotten",
    "export": "Exports", "terms": "Terms changed", "sign_in": "Sign-ins", "factor": "Ways to sign in", "device": "Devices", "recovery": "Recovery codes",
    "settings": "Settings", "key": "Keys made", "key_destroyed": "Keys destroyed", "restored": "Backups restored", "operator": "Acts of the operator",
}  # fmt: skip
"""Act -> its name in the filter."""
OUTCOMES: Final = {"permitted": "Done", "denied": "Refused"}
_ENDED: Final = {
    "handed_back": "They handed it back.",
    "code_replayed": "Its code was shown twice, so somebody else may have had it.",
    "restored": "An older copy of your data had come back.",
    "over": "It reached its end date.",
    "uncollected": "Nobody came to use it.",
}
FACTORS: Final = {"password": "your password", "passkey": "a passkey", "totp": "a code from your app", "recovery": "a recovery code"}


def moment(entry: Entry) -> dt.datetime:
    """When it happened."""
    return dt.datetime.fromisoformat(entry["at"])


def other(entry: Entry, names: Names) -> str:
    """The other side: a vendor's domain, or the person's own extension."""
    vendor = entry["by"].get("vendor") or entry.get("vendor") or ""
    client = entry["by"].get("id") or entry.get("client") or ""
    return vendor.removeprefix("https://") or names.get(client) or (OWN if client == "extension" else client) or "A vendor"


def _count(entry: Entry, noun: str = "event") -> str:
    return many(entry["count"], noun) if "count" in entry else f"{noun}s"


def kinds(entry: Entry) -> str:
    """The kinds of events that an entry speaks of."""
    if set(KINDS) <= set(entry.get("kinds", ())):
        return "events of every kind"
    return joined(about.label for kind, about in KINDS.items() if kind in entry.get("kinds", ())) or "your events"


def why(entry: Entry) -> str:
    """The purpose that was named, in words."""
    named = PURPOSES.get(entry.get("purpose", ""))
    return named.label if named else ""


def _read(entry: Entry, who: str) -> str:
    if entry["outcome"] == "denied":
        return f"{who} asked to read and was refused."
    purpose = f", to {why(entry)}" if entry.get("purpose") else ""
    if entry.get("answers"):
        return f"{who} learned {joined(ANSWERS[name] for name in entry['answers'])}{purpose}."
    return f"{who} read {_count(entry, 'row')} of {kinds(entry)}{purpose}."


def _upload(entry: Entry, who: str) -> str:
    return f"{who} wanted to add events and could not." if entry["outcome"] == "denied" else f"{who} added {_count(entry)}."


def _day(text: str) -> str:
    day = dt.date.fromisoformat(text[:10])
    return f"{day.day} {day:%b %Y}"


def _give(entry: Entry, who: str) -> str:
    writes = all(clause.get("action") == "write" for clause in entry.get("clauses", ())) and entry.get("clauses")
    until = f" until {_day(entry['until'])}" if entry.get("until") else ""
    what = "your extension add events" if writes else f"{who} see events of yours"
    return f"You let {what}{until}."


def _doer(entry: Entry, who: str) -> str:
    return {"person": "You", "client": who, "operator": "The operator"}.get(entry["by"]["role"], "The broker")


def _import(entry: Entry, who: str) -> str:
    source = f" from {entry['file']}" if entry.get("file") else ""
    besides = [many(entry[name], *words) for name, *words in _BESIDES if entry.get(name)]
    logs = [f"the ledger of {log['origin'].partition('/')[0]} with {many(log['size'], 'entry', 'entries')}" for log in entry.get("old_logs", ())]
    also = f", with {joined([*besides, *logs])}" if besides or logs else ""
    return f"{_doer(entry, who)} imported {_count(entry)}{source}{also}."


_BESIDES: Final = (("terms", "version of your terms", "versions of your terms"), ("grants", "ended grant"))


def _forget(entry: Entry, who: str) -> str:
    if entry.get("why") == "retention":
        return f"The broker forgot {_count(entry)}, which were older than you want to keep them."
    if "undo" in entry:
        return f"{_doer(entry, who)} took an import back, and with it {_count(entry)}."
    return f"{_doer(entry, who)} forgot {_count(entry)}."


def _change(word: str) -> Callable[[Entry, str], str]:
    def sentence(entry: Entry, who: str) -> str:
        mine = "your extension" if who == OWN else who
        return f"{_doer(entry, who)} {word} the grant of {mine}."

    return sentence


def _refuse(entry: Entry, who: str) -> str:
    if entry["by"]["role"] == "broker":
        return f"What {who} asked was refused without being shown to you."
    return f"You refused what {'your extension' if who == OWN else who} asked."


def _factor(entry: Entry, _who: str) -> str:
    way = FACTORS.get(entry.get("factor", ""), "another one")
    change = {"changed": "was changed", "removed": "was taken away", "reset": "was set anew, by the operator's link", "added": "was added"}
    if entry.get("factor") == "recovery":
        return "New recovery codes were made; earlier ones no longer work."
    return f"A way to sign in {change[entry['change']]}: {way}." if entry.get("change") in change else f"A way to sign in was set: {way}."


def _sign_in(entry: Entry, _who: str) -> str:
    if entry.get("again"):
        return f"You proved once more that it is you, with {FACTORS.get(entry.get('factor', ''), 'another way')}."
    return f"You signed in with {FACTORS.get(entry.get('factor', ''), 'another way')}."


_SLOTS: Final = {"key_file": "the key file", "passphrase": "a passphrase", "recovery_key": "a recovery key"}


def _key(entry: Entry, _who: str) -> str:
    slot, change = _SLOTS.get(entry.get("slot", "")), entry.get("change", "")
    if slot and change:
        return f"What opens this broker changed: {slot} was {'taken away' if change == 'removed' else 'added'}."
    return "The broker changed the keys that your events lie under. Nothing was lost."


def _settings(entry: Entry, _who: str) -> str:
    kept = KINDS.get(entry.get("kept", ""))
    if kept is None:
        return "You changed your settings."
    return f"You chose how long to keep {kept.label}: {many(entry['days'], 'day') if entry.get('days') else 'for ever'}."


def _destroyed(entry: Entry, _who: str) -> str:
    months = many(len(entry.get("months", ())), "month")
    return f"The broker destroyed the keys of what was forgotten, of {months} in all. No copy of a file can be read with what it holds now."


def _version(entry: Entry) -> str:
    return f" (version {entry['version']})" if "version" in entry else ""


def _terms(entry: Entry, who: str) -> str:
    doer, version = _doer(entry, who), _version(entry)
    if entry.get("change") in {"block", "unblock"}:
        return f"{doer} {entry['change']}ed {who}{version}."
    if entry.get("change") == "restore":
        return f"{doer} put version {entry['restored']} of your terms back in force{version}."
    if entry.get("change") == "moved":
        return f"{doer} brought your terms from another broker{version}."
    return f"{doer} changed your terms{version}."


_COPIED: Final = {"ledger": "your ledger", "everything": "everything of yours", "old ledger": "the ledger of a broker you left"}


def _export(entry: Entry, who: str) -> str:
    what = _COPIED.get(entry.get("what", ""), "your events")
    part = f" (entry {entry['entry']} of it)" if "entry" in entry else ""
    doer = _doer(entry, who)
    return f"{doer} took a copy of {what}{part} with {'you' if doer == 'You' else 'them'}."


def _operator(entry: Entry, who: str) -> str:
    if entry.get("did") == "client_removed":
        return f"The operator took {who} out of service: nothing of yours can be read by it any more."
    if entry.get("did") == "time_set_back":
        return "The operator set the broker's time back, and signed you out everywhere."
    if entry.get("did") == "terms_shown":
        return "The operator looked at your terms."
    if entry.get("did") == "backup":
        return "The operator made a backup of everything here, sealed."
    if entry.get("did") == "own_backup":
        return "The broker made a backup of everything here for its operator, before keys of what was erased were destroyed."
    return "The operator did something to your account."


def _restored(entry: Entry, _who: str) -> str:
    came = many(sum(each["size"] for each in entry.get("before", ())), "entry", "entries")
    return f"A backup was put back. {came} came back with it; what was done after them is not here."


def _fixed(text: str) -> Callable[[Entry, str], str]:
    return lambda _entry, _who: text


_SENTENCES: Final[dict[str, Callable[[Entry, str], str]]] = {
    "give": _give,
    "narrow": _change("narrowed"),
    "pause": _change("paused"),
    "resume": _change("resumed"),
    "revoke": _change("ended"),
    "expire": lambda _entry, who: f"The grant of {'your extension' if who == OWN else who} ran out.",
    "refuse": _refuse,
    "read": _read,
    "upload": _upload,
    "import": _import,
    "forget": _forget,
    "export": _export,
    "terms": _terms,
    "sign_in": _sign_in,
    "factor": _factor,
    "device": lambda entry, _who: f"You ended {many(entry.get('ended', 1), 'other session')}.",
    "recovery": _fixed("A recovery code was used to sign in, and all other sessions ended."),
    "settings": _settings,
    "key": _key,
    "key_destroyed": _destroyed,
    "restored": _restored,
    "operator": _operator,
}


def sentence(entry: Entry, names: Names) -> str:
    """Who did what, in one sentence; `names` maps client ids to what they are called."""
    made = _SENTENCES.get(entry["act"])
    text = made(entry, other(entry, names)) if made else f"Something was done: {entry['act']}."
    return f"{text[:-1]}, {entry['times']} times within a minute." if entry.get("times", 1) > 1 else text


def reasons(entry: Entry) -> list[str]:
    """Every reason, each as a sentence."""
    return [explain.reason(slug) if slug in REASONS else _ENDED.get(slug, f"{slug}.") for slug in entry["reasons"]]


def narrowed(entry: Entry, names: Names) -> list[str]:
    """What a narrowing took away, from what to what; nothing for any other act."""
    return narrowings.sentences(entry["was"], entry["clauses"], other(entry, names)) if "was" in entry else []


def fields(entry: Entry) -> str:
    """The fields that were sent, and how precisely."""
    given = entry.get("fields") or {}
    return ", ".join(about.label(given[name]) for name, about in FIELDS.items() if name in given and given[name] in about.levels)


def days(entry: Entry) -> str:
    """The days of the oldest and newest row."""
    first, last = (_day(entry[name]) if entry.get(name) else "" for name in ("from", "to"))
    return first if first == last else f"{first} to {last}"
