"""What both clients share: where the service is, whose key is sent, how httpx is called and understood, and what a call shows of itself."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from infra.version import VERSION
from shitu.client.errors import ConnectionFailed
from shitu.client.exchange import Answer, Request

CONNECT_S, ANSWER_S = 5.0, 90.0
C = TypeVar("C", bound=Callable[..., Any])


@dataclass(frozen=True)
class Connection:
    """The service's address and the headers of each request."""

    url: str
    headers: dict[str, str]

    @classmethod
    def to(cls, server: str, key: str | None) -> Connection:
        """The service at `server`, for `key`, or that of the environment. Raises ValueError for what is no address."""
        parts = urlsplit(server if "://" in server else f"http://{server}")
        if parts.scheme not in {"http", "https"} or not parts.netloc:
            raise ValueError(f"{server!r} is no address like http://127.0.0.1:8000")
        proof = os.environ.get("SHITU_KEY") if key is None else key
        headers = {"User-Agent": f"shitu/{VERSION}", **({"Authorization": f"Bearer {proof}"} if proof else {})}
        return cls(parts._replace(path=parts.path.rstrip("/"), query="", fragment="").geturl(), headers)

    def request(self, request: Request) -> dict[str, Any]:
        """As the arguments of httpx' `build_request`."""
        if request.link:
            own = {"User-Agent": self.headers["User-Agent"]}
            sent = {"headers": {**own, **request.headers}, "content": request.content}
            return {"method": request.method, "url": request.link, **sent}
        found: dict[str, Any] = {
            "method": request.method,
            "url": f"{self.url}/v1{request.path}",
            "headers": {**self.headers, **request.headers},
        }
        if request.query:
            found["params"] = list(request.query)
        if request.json is not None:
            found["json"] = request.json
        if request.files:
            kind = "application/octet-stream"  # the service looks at the bytes
            found["data"] = request.fields
            found["files"] = [(field, (one.name, one.data, kind)) for field, one in request.files]
        if request.read_s is not None:
            found["timeout"] = httpx.Timeout(ANSWER_S, connect=CONNECT_S, read=request.read_s)
        return found


def timeout() -> httpx.Timeout:
    """To connect, and for each read and write."""
    return httpx.Timeout(ANSWER_S, connect=CONNECT_S)


def head_of(response: httpx.Response) -> Answer:
    """An answer without its body; a stream of events is read later."""
    headers = {name.lower(): value for name, value in response.headers.items()}
    answer = Answer(response.status_code, headers)
    return Answer(response.status_code, headers, streaming=answer.status == 200 and answer.media == "text/event-stream")


def failed(error: httpx.TransportError, url: str) -> ConnectionFailed:
    """Why there is no answer."""
    text = str(error)
    known = {
        "Connection refused": "nothing listens",
        "Name or service not known": "the host name is unknown",
        "Temporary failure in name resolution": "the host name is unknown",
        "CERTIFICATE_VERIFY_FAILED": "its certificate is not accepted",
    }
    why = next((said for part, said in known.items() if part in text), None)
    if why is None:
        why = "no answer in time" if isinstance(error, httpx.TimeoutException) else text or type(error).__name__
    unsent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout | httpx.ProxyError)
    final = isinstance(error, httpx.UnsupportedProtocol) or "CERTIFICATE_VERIFY_FAILED" in text
    return ConnectionFailed(f"{url}: no service answers there ({why}).", sent=not unsent, final=final)


def shown_as(steps: Callable[..., object]) -> Callable[[C], C]:
    """Gives a method the name, docstring and parameters of the steps that it runs; `wraps` alone has one parameter too few."""
    own = [one for one in inspect.signature(steps).parameters.values() if one.name != "self"]

    def mark(call: C) -> C:
        functools.update_wrapper(call, steps)
        itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        call.__dict__["__signature__"] = inspect.Signature([itself, *own])
        return call

    return mark
