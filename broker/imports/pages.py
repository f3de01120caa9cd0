"""The pages of imports: choose a file or a browser, see what it holds, take it in, undo it."""

from pathlib import Path
from typing import Any, BinaryIO, Final

from flask import Blueprint, current_app, flash, redirect, render_template, request, url_for
from flask.blueprints import BlueprintSetupState
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.wrappers import Response

from broker import current, errors, layout
from broker.config import LOOPBACK
from broker.confirming import fresh, fresh_to_forget
from broker.events import shape
from broker.imports import actions, browsers, columns, files, queries, rooms
from broker.imports.queries import Batch
from broker.imports.work import Work
from broker.ledger import actions as ledger
from broker.moves import queries as moves
from broker.people import queries as people
from broker.rows import counted
from broker.rows import table as rows_table
from broker.session import csrf, person, signed_in

pages: Final = Blueprint("imports", __name__)
KINDS: Final = {
    "chromium": "History of Chrome, Chromium, Edge, Brave, Vivaldi or Opera", "firefox": "History of Firefox", "amazon": "Amazon's order history",
    "csv": "Orders of a shop (CSV)", "proffer": "Everything from another broker",
}  # fmt: skip
STATES: Final = {
    "mapping": ("waits for its columns", ""), "reading": ("being read", ""), "ready": ("tried, not taken in", ""), "taking": ("being taken in", ""),
    "done": ("taken in", "good"), "undoing": ("being undone", ""), "undone": ("undone", ""), "failed": ("could not be read", "stop"),
}  # fmt: skip
TRIED: Final = 8
ROOM_FOR_FIELDS: Final = 64 * 1024


@pages.record_once
def _prepare(state: BlueprintSetupState) -> None:
    """Each application has one worker, and begins without what an earlier one left behind."""
    state.app.extensions["imports"] = Work()
    actions.sweep(state.app.extensions["broker"])


def _work() -> Work:
    work: Work = current_app.extensions["imports"]
    return work


def _installed() -> list[browsers.Found] | None:
    """The browsers of this computer, where the broker runs for the one person who sits before it.

    None where it does not look: with a second person in the household the broker cannot tell whose histories they are.
    """
    broker = current.broker()
    with broker.reading() as tx:
        alone = people.count(tx) == 1
    private = broker.settings.host in LOOPBACK and not broker.settings.https
    return browsers.installed(Path.home()) if private and alone else None


def _load(batch: str) -> Batch:
    with current.broker().reading() as tx:
        return queries.one(tx, person().ring, queries.to_bytes(batch))


def _back(batch: str) -> Response:
    return redirect(url_for("imports.show", batch=batch), 303)


@pages.get("/import")
@signed_in
def index() -> Any:
    """The sources, and the imports made so far."""
    return _index()


def _index(mistakes: dict[str, str] | None = None, status: int = 200) -> Any:
    broker, who = current.broker(), person()
    with broker.reading() as tx:
        made = queries.every(tx, who.ring)
    lines = [(each, *_state(each)) for each in made]
    installed = _installed()
    found = [(browsers.digest(each), each) for each in installed or []]
    page = render_template(
        "imports/index.html", lines=lines, found=found, looked=installed is not None, errors=mistakes or {}, failed=bool(mistakes),
        most=broker.settings.import_max_mib, counted=counted, held=queries.HELD,
    )  # fmt: skip
    return page, status


def _state(batch: Batch) -> tuple[str, str]:
    """A batch's state in words, and its tone."""
    return ("interrupted", "warn") if _is_interrupted(batch) else STATES[batch.state]


def _is_interrupted(batch: Batch) -> bool:
    return batch.is_silent(current.broker().now()) and not _work().busy(batch.batch_id)


class _Upload(FormDataParser):
    """Writes the one file of a form straight into a room, where werkzeug would make a plain copy on disk."""

    target: BinaryIO

    def __init__(self, stream_factory: Any = None, **more: Any) -> None:
        super().__init__(self._open, **more)
        self._used = stream_factory is None

    def _open(self, *_: Any, **__: Any) -> BinaryIO:
        if self._used:
            raise errors.BadRequest("Send one file at a time.")
        self._used = True
        return self.target


@pages.post("/import")
@csrf.exempt  # type: ignore[untyped-decorator]
@signed_in
def upload() -> Any:
    """Take an uploaded file for a dry run. The form is large, so its token is checked here, once the larger limit is set."""
    broker, who = current.broker(), person()
    most = broker.settings.import_max_mib
    request.max_content_length = most * 2**20 + ROOM_FOR_FIELDS
    try:
        with rooms.room(request.content_length or 0) as room, (room / "file").open("w+b") as plain:
            request.form_data_parser_class = type("_Upload", (_Upload,), {"target": plain})
            csrf.protect()
            chosen = request.files.get("file")
            if chosen is None or not chosen.filename:
                return _index({"file": "Choose a file first."}, 422)
            plain.flush()
            source = files.recognise(broker, room / "file")
            plain.seek(0)
            batch = actions.upload(broker, who.person_id, plain, source, Path(chosen.filename).name)
    except RequestEntityTooLarge:
        return _index({"file": f"This file is larger than {most} MiB, the most this page takes. Split it and import the parts."}, 413)
    except errors.ImportRefused as refused:
        return _index({"file": refused.detail}, 422)
    if batch.state == "reading":
        _try_out(batch)
    return _back(batch.id)


def _try_out(batch: Batch) -> None:
    broker, person_id = current.broker(), person().person_id
    _work().start(batch.batch_id, lambda: actions.try_out(broker, person_id, batch.batch_id))


@pages.post("/import/browser")
@signed_in
def browser() -> Any:
    """Read the history of a browser on this computer for a dry run; the form only says which of those that were found."""
    chosen = next((each for each in _installed() or [] if browsers.digest(each) == request.form.get("browser", "")), None)
    if chosen is None:
        return _index({"browser": "This browser is no longer there. Choose another."}, 422)
    try:
        batch = actions.from_browser(current.broker(), person().person_id, chosen)
    except errors.ImportRefused as refused:
        return _index({"browser": refused.detail}, 422)
    _try_out(batch)
    return _back(batch.id)


@pages.get("/import/<batch>")
@signed_in
def show(batch: str) -> Any:
    """One import, whatever its state."""
    found = _load(batch)
    if found.state == "mapping" or (found.state == "ready" and request.args.get("columns") and found.details["kind"] == "csv"):
        return _mapping_page(found, _answers(found))
    word, tone = _state(found)
    broker, who = current.broker(), person()
    with broker.reading() as tx:
        kept = [each for each in moves.every(tx, who.ring) if each.batch == found.id]
    answer = layout.page(
        "imports/batch.html", "progress" if found.state in queries.WORKING else "main", batch=found, found=found.found, word=word, tone=tone, kinds=KINDS,
        counted=counted, interrupted=_is_interrupted(found), days=found.found.days, ledgers=kept,
    )  # fmt: skip
    if request.headers.get("HX-Request") == "true" and (found.state not in queries.WORKING or _is_interrupted(found)):
        # The work has ended: the page as a whole is another one now.
        answer.headers["HX-Refresh"] = "true"
    return answer


def _answers(batch: Batch) -> dict[str, str]:
    """The form as it was answered before, or as the file suggests."""
    head = batch.details["head"]
    return batch.details.get("answers") or columns.guess(head["header"], head["rows"], layout.zone_name())


def _mapping_page(batch: Batch, answers: dict[str, str], mistakes: dict[str, str] | None = None, preview: Any = None, status: int = 200) -> Any:
    head = batch.details["head"]
    page = render_template(
        "imports/mapping.html", batch=batch, header=head["header"], rows_of_file=head["rows"][:5], answers=answers, errors=mistakes or {},
        failed=bool(mistakes), preview=preview, header_options=[(name, name) for name in head["header"]],
        category_options=[(top, top) for top in sorted(shape.TOPS)], table=rows_table,
    )  # fmt: skip
    return page, status


@pages.post("/import/<batch>/columns")
@signed_in
def set_columns(batch: str) -> Any:
    """Say which column is what; `look` shows the first rows so, anything else goes on to the dry run."""
    broker, who, found = current.broker(), person(), _load(batch)
    if found.state not in {"mapping", "ready"} or found.details["kind"] != "csv":
        raise errors.Conflict
    head = found.details["head"]
    answers = {name: request.form.get(name, "")[:200] for name in columns.guess(head["header"], ())}
    try:
        mapping = columns.read(answers, head["header"])
    except errors.Unprocessable as refused:
        return _mapping_page(found, answers, refused.by_field, status=422)
    if request.form.get("then") == "look":
        return _mapping_page(found, answers, preview=columns.tried(head["header"], head["rows"][:TRIED], mapping, broker.now()))
    actions.set_mapping(broker, who.person_id, found, mapping, answers)
    _try_out(found)
    return _back(batch)


@pages.post("/import/<batch>/take")
@signed_in
def take(batch: str) -> Any:
    """Take in what the dry run showed, or go on where it broke off."""
    broker, person_id, found = current.broker(), person().person_id, _load(batch)
    if found.found.besides.get("terms"):
        # They may allow more than the terms that everybody starts with.
        fresh("looser")
    actions.claim(broker, person_id, found.batch_id)
    _work().start(found.batch_id, lambda: actions.take(broker, person_id, found.batch_id))
    return _back(batch)


@pages.post("/import/<batch>/ledgers/<number>")
@signed_in
def old_ledger(batch: str, number: str) -> Any:
    """A ledger that came with this import, byte for byte as it came; that it is taken is entered first."""
    broker, who, found = current.broker(), person(), _load(batch)
    with broker.reading() as tx:
        kept = next((each for each in moves.every(tx, who.ring) if each.batch == found.id and str(each.number) == number), None)
    if kept is None:
        raise errors.NotFound
    ledger.record(broker, who.person_id, ledger.Entry("export", broker.now(), about={"what": "old ledger", "batch": found.id}))
    response = Response(moves.written(broker, who.ring, kept), mimetype="application/zip")
    response.headers.set("Content-Disposition", "attachment", filename=f"old-ledger-{kept.number}.zip")
    return response


@pages.post("/import/<batch>/discard")
@signed_in
def discard(batch: str) -> Any:
    """Throw a file away that was not taken in."""
    found = _load(batch)
    actions.discard(current.broker(), person().person_id, found.batch_id)
    flash("Thrown away. Nothing of this file is kept.", "good")
    return redirect(url_for("imports.index"), 303)


@pages.post("/import/<batch>/undo")
@signed_in
def undo(batch: str) -> Any:
    """Delete all events that came by one import."""
    broker, person_id, found = current.broker(), person().person_id, _load(batch)
    fresh_to_forget(found.total)
    actions.begin_undo(broker, person_id, found.batch_id)
    _work().start(found.batch_id, lambda: actions.undo(broker, person_id, found.batch_id))
    return _back(batch)
