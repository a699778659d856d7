"""The error tree: codes are stable names, one class each, fit for an HTTP answer."""

from __future__ import annotations

import http
import importlib
import pkgutil
import re

from contracts.errors import ServiceError
from infra import errors
from infra.errors.galleries import GalleryBusy
from infra.errors.jobs import JobNotFound
from infra.errors.service import ConfigurationError

for module in pkgutil.iter_modules(errors.__path__):
    importlib.import_module(f"{errors.__name__}.{module.name}")


def tree(root: type[ServiceError]) -> list[type[ServiceError]]:
    own = [found for found in root.__subclasses__() if found.__module__.startswith(f"{errors.__name__}.")]
    return [root] + [below for found in own for below in tree(found)]


def test_every_class_has_its_own_code_and_a_valid_status() -> None:
    classes = tree(ServiceError)
    codes = [found.code for found in classes]
    assert len(codes) == len(set(codes)) > 30
    for found in classes:
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", found.code)
        assert http.HTTPStatus(found.http_status) >= http.HTTPStatus.BAD_REQUEST
        assert found.title
        assert found.__doc__


def test_the_drawn_tree_is_the_real_one() -> None:
    listed = dict(re.findall(r"^ {4,}(\w+) {2,}([a-z_]+)", errors.__doc__ or "", re.MULTILINE))
    assert listed == {found.__name__: found.code for found in tree(ServiceError) if found is not ServiceError}
    statuses = dict(re.findall(r"^ {4,}(\w+) {2,}[a-z_]+ +(\d{3})\b", errors.__doc__ or "", re.MULTILINE))
    real = {found.__name__: found.http_status for found in tree(ServiceError)}
    assert statuses
    assert all(real[name] == int(status) for name, status in statuses.items())


def test_an_error_says_what_happened_this_time() -> None:
    error = GalleryBusy("The gallery is being written.", retry_after_s=2, gallery="drinks")
    assert (error.code, error.http_status, error.retryable) == ("gallery_busy", 409, True)
    assert (error.detail, error.retry_after_s, error.extra) == (str(error), 2, {"gallery": "drinks"})
    assert JobNotFound("x").extra == {}


def test_a_configuration_error_lists_its_problems() -> None:
    error = ConfigurationError(["one", "two"])
    assert error.problems == ["one", "two"]
    assert str(error).splitlines()[1:] == ["  - one", "  - two"]
