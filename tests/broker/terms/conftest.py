"""A person at their terms page: look at a change, then save it."""

from dataclasses import dataclass
from typing import Any

import pytest
from makers import Browser
from pageforms import form_of
from werkzeug.test import TestResponse

from broker.terms import queries
from policies.terms import Terms


@dataclass
class Desk:
    """What alice does with her terms, by the forms that her pages show."""

    person: Browser

    def send(self, path: str, fields: dict[str, Any]) -> TestResponse:
        """Send a form that a page showed."""
        return self.person.client.post(path, data=fields, base_url="http://localhost:8440", headers={"Sec-Fetch-Site": "same-origin"})

    def look(self, page: str, change: dict[str, Any] | None = None, **which: str) -> TestResponse:
        """Fill in the form on a page and ask what it would change."""
        text = self.person.get(page).text
        return self.send("/terms/preview", {**form_of(text, "/terms/preview", **which), **(change or {})})

    def save(self, page: str, change: dict[str, Any] | None = None, **which: str) -> TestResponse:
        """The whole way: fill in, look, save."""
        looked = self.look(page, change, **which)
        assert looked.status_code == 200, looked.text
        saved = self.send("/terms/save", form_of(looked.text, "/terms/save"))
        assert saved.status_code == 303, saved.text
        return looked

    @property
    def version(self) -> int:
        """The number in force."""
        with self.person.app.extensions["broker"].reading() as tx:
            return queries.version(tx, self.person.person_id)

    @property
    def terms(self) -> Terms:
        """The terms in force."""
        with self.person.app.extensions["broker"].reading() as tx:
            return queries.current(tx, self.person.ring)


@pytest.fixture
def desk(alice: Browser) -> Desk:
    """Alice's own."""
    return Desk(alice)
