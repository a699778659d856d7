"""The header Idempotency-Key on every POST that makes something: a repetition gets the first one's answer.

Around the views: `register` reserves the key before a view and keeps its answer after it. A view that makes something
with an id of its own takes it from `new_id_of`, so that what a dead process had made is found instead of made again.
A request that is refused (4xx) leaves its key free; one that fails (5xx, or a killed process) leaves it to the next one.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import re
import time
import zlib
from typing import TYPE_CHECKING

import redis.exceptions
from flask import Response, current_app, g, request

from infra.errors.jobs import JobExpired, JobNotFound
from infra.errors.requests import IdempotencyInProgress, IdempotencyKeyReused, InvalidRequest
from infra.jobs.batch_records import PREFIX
from infra.jobs.idempotency import Idempotency, Reservation, State, scope_of
from infra.jobs.records import new_id
from web.access import auth
from web.openapi.operations import operation_of, takes_idempotency_key
from web.requests.terms import CANCEL_AFTER
from web.services import services

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
MAX_KEY_CHARS = 255
KEPT_HEADERS = ("Location", "Content-Type", "Retry-After")
PIECE_BYTES = 65536
# A String of RFC 8941, or the bare key that many clients send.
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_BARE = re.compile(r"[!#-+\--:<-\[\]-~]+")

log = logging.getLogger("shitu.web")


def register(app: Flask) -> None:
    """Around every view of `app`; after what decides who sends the request."""
    app.before_request(_reserve)
    app.after_request(_keep)


def new_id_of(prefix: str) -> str:
    """The id of what this request is about to make: with a key the same in each repetition."""
    held: Reservation | None = g.get("idempotency")
    if held is None:
        return new_id(prefix, time.time())
    made = f"{prefix}_{held.suffix}"
    _keys().making(held, made)
    return made


def read_key() -> str | None:
    """The request's key, quoted or not; None: it has none. Raises InvalidRequest."""
    sent = request.headers.get(HEADER)
    if sent is None:
        return None
    text = sent.strip()
    if (quoted := _QUOTED.fullmatch(text)) is not None:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = text if _BARE.fullmatch(text) else ""
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        detail = (
            f'{HEADER} takes one string of 1 to {MAX_KEY_CHARS} printable ASCII characters, best a quoted UUID: "8e03…"'
        )
        raise InvalidRequest(detail, errors=[{"pointer": "", "detail": detail}])
    return key


def fingerprint() -> str:
    """A hash of what the current request wants: its query and deadline, and its fields and files whatever separates them, or its body."""
    whole = hashlib.sha256(request.query_string)
    if (deadline := request.headers.get(CANCEL_AFTER)) is not None:
        _feed(whole.update, "deadline", deadline)
    if request.mimetype == "multipart/form-data":
        for name, texts in sorted(request.form.lists()):
            _feed(whole.update, "text", name, *texts)
        for name in sorted(request.files):
            for file in request.files.getlist(name):
                content = hashlib.sha256()
                while piece := file.stream.read(PIECE_BYTES):
                    content.update(piece)
                file.stream.seek(0)
                _feed(whole.update, "file", name, file.filename or "", content.hexdigest())
    else:
        _feed(whole.update, "body", request.mimetype)
        whole.update(_canonical(request.get_data(cache=True)))
    return whole.hexdigest()


def _feed(update: Callable[[bytes], None], *texts: str) -> None:
    update(json.dumps(texts).encode())  # says where each text ends


def _canonical(data: bytes) -> bytes:
    """JSON by what it says: a client may write the same with other blanks or another order."""
    try:
        return json.dumps(json.loads(data), sort_keys=True).encode()
    except (ValueError, RecursionError):
        return data


def _keys() -> Idempotency:
    return Idempotency(services().redis)


def _reserve() -> Response | None:
    """The kept answer, if there is one. Raises IdempotencyKeyReused, IdempotencyInProgress, InvalidRequest."""
    if request.url_rule is None or request.method != "POST":
        return None
    operation = operation_of(current_app.view_functions[request.url_rule.endpoint])
    if operation is None or not takes_idempotency_key(operation):
        return None
    key = read_key()
    if key is None:
        return None
    held = _keys().reserve(scope_of(auth.owner(), request.method, request.path, key), fingerprint())
    if held.state is State.REUSED:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was sent with another request within the last day; draw a new one."
        )
    if held.state is State.ANSWERED:
        return _answer_again(held)
    if held.made and (made := _made(held)) is not None:
        if held.state is State.TAKEN_OVER:
            g.idempotency = held  # its answer is kept from now on
        return made
    if held.state is State.IN_PROGRESS:
        raise IdempotencyInProgress(
            "A request with this Idempotency-Key is being accepted at this moment.", retry_after_s=1.0
        )
    g.idempotency = held
    return None


def _keep(response: Response) -> Response:
    """After the view. Nothing here may turn an accepted request into a failed one."""
    held: Reservation | None = g.pop("idempotency", None)
    if held is None:
        return response
    try:
        keys = _keys()
        if response.status_code >= 500:
            keys.lapse(held)
        elif response.status_code >= 400:
            keys.free(held)
        else:
            keys.answered(held, _pack(response, held))
    except redis.exceptions.RedisError:
        log.warning("an answer could not be kept under its Idempotency-Key; the reservation lapses", exc_info=True)
    return response


def _pack(response: Response, held: Reservation) -> str:
    """The answer as text; of what can be fetched again, only its id."""
    kept: dict[str, object] = {"status": response.status_code}
    kept["headers"] = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
    job_id = str(kept["headers"].get("Location", "")).rpartition("/")[2]  # type: ignore[attr-defined]
    kept["made"] = job_id if held.suffix and job_id.endswith(held.suffix) else ""
    if not kept["made"]:
        kept["body"] = base64.b64encode(zlib.compress(response.get_data())).decode()
    return json.dumps(kept)


def _answer_again(held: Reservation) -> Response:
    kept = json.loads(held.answer)
    if kept["made"]:
        try:
            again = _show(kept["made"])
        except JobNotFound:
            raise JobExpired(f"{kept['made']} was accepted, has ended, and its record has expired.") from None
    else:
        again = Response(zlib.decompress(base64.b64decode(kept["body"])), status=kept["status"])
        for name, value in kept["headers"].items():
            again.headers[name] = value
    again.headers[REPLAYED] = "true"
    return again


def _made(held: Reservation) -> Response | None:
    """What another process made under this reservation, if it came so far. Raises JobExpired."""
    try:
        again = _show(held.made)
    except JobNotFound:
        return None
    again.headers[REPLAYED] = "true"
    return again


def _show(made: str) -> Response:
    """The first answer again, with the present state. Raises JobNotFound, JobExpired."""
    from web.jobs import batches, jobs

    if made.startswith(f"{PREFIX}_"):
        return batches.accepted(services().ledger.batches.get(made), always_202=True)
    return jobs.accepted_again(services().ledger.get(made))
