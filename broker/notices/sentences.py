"""Notices in plain words: what happened, and what can be done."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from broker.ledger.sentences import FACTORS
from broker.notices.queries import Told
from broker.words import many

About = Mapping[str, Any]


def _who(about: About) -> str:
    return str(about.get("vendor", "")).removeprefix("https://") or "Your extension"


def _session(about: About) -> str:
    way, where = FACTORS.get(about.get("factor", ""), "another way"), about.get("device") or "an unknown browser"
    return (
        f"You signed in with {way} in {where}, where you were not signed in before. "
        "If that was not you, sign that device out and change your password."
    )


def _factor(about: About) -> str:
    way, change = about.get("factor", ""), about.get("change", "")
    named = f" \u201c{about['name']}\u201d" if about.get("name") else ""
    said = {
        ("password", "changed"): "Your password was changed, and every other session ended.",
        ("password", "reset"): "Your password was set anew with a link from whoever runs this broker. Every session ended.",
        ("password", "removed"): "Your password was taken away. Passkeys alone let you in.",
        ("passkey", "added"): f"The passkey{named} was added. It can sign in as you.",
        ("passkey", "removed"): f"The passkey{named} was taken away.",
        ("totp", "added"): "A code from an authenticator app is asked for after your password from now on.",
        ("totp", "removed"): "No code from an authenticator app is asked for any more.",
        ("recovery", "made"): "New recovery codes were made. Earlier ones no longer work.",
    }
    return f"{said.get((way, change), 'A way to sign in was changed.')} If that was not you, sign out everywhere else and change your password."


def _recovery(about: About) -> str:
    left = many(about.get("left", 0), "code")
    return f"Somebody signed in with a recovery code in {about.get('device') or 'an unknown browser'}, and every other session ended. {left} left."


_SENTENCES: Final[dict[str, Callable[[About], str]]] = {
    "code-replayed": lambda about: (
        f"The code of a grant to {_who(about)} was shown twice. Somebody may have copied it on its way, so the grant was ended. "
        "If you still want to give it, they have to ask again."
    ),
    "assertion-replayed": lambda about: (
        f"Somebody signed in as {_who(about)} with something that had been used already. Nothing was given. Its own server may have sent it twice; "
        "if you do not trust it any more, pause or revoke its grants."
    ),
    "other-key": lambda about: (
        f"A token of {_who(about)} was shown by somebody who has not the key it belongs to. It opened nothing. "
        f"If you do not trust {_who(about)} to keep its tokens, revoke its grant."
    ),
    "new-vendor": lambda about: f"You gave {_who(about)} something for the first time. If you did not mean to, revoke it.",
    "new-session": _session,
    "factor": _factor,
    "recovery": _recovery,
}
ALARMS: Final = frozenset({"code-replayed", "assertion-replayed", "other-key", "recovery"})
"""Kinds that say somebody else may have had a hand in it."""
SIGN_IN: Final = frozenset({"new-session", "factor", "recovery"})
"""Kinds that are looked into on the page of devices and ways to sign in."""


def sentence(kind: str, about: About) -> str:
    """What happened and what can be done."""
    return _SENTENCES[kind](about)


def lines(notices: Iterable[Told]) -> list[dict[str, Any]]:
    """Notices as the pages show them: the words, their tone, and where to look into it."""
    return [_line(told) for told in notices]


def _line(told: Told) -> dict[str, Any]:
    grant = told.about.get("grant")
    link, where = ("/devices", "Devices & sign-in") if told.kind in SIGN_IN else (f"/grants/{grant}", "Its grant") if grant else ("/grants", "Your grants")
    tone = "stop" if told.kind in ALARMS else ""
    return {"told": told, "sentence": sentence(told.kind, told.about), "tone": tone, "link": link, "where": where}


def kinds() -> frozenset[str]:
    """Every kind that has its words."""
    return frozenset(_SENTENCES)
