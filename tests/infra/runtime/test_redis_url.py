"""What is wrong with the spelling of a REDIS_URL, by name and never with the password."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from infra.redis.client import connect
from infra.runtime import redis_url


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://:p#ss@host:6379/0", "unencoded #"),
        ("redis://user:12#34@host:6379/0", "unencoded #"),
        ("redis://:pa/ss@host:6379/0", "not encoded"),
        ("redis://u:12/34@host/0", "unencoded /"),
        ("redis://u:12?34@host/0", "unencoded /"),
        ("redis://:p%ss@host", "unencoded %"),
        ("redis://:p[ss@host", "not encoded"),
        ("redis://host:6379/0\n", "line end"),
        ("redis://host:70000/0", "port"),
        ("redis://host:6379/zero", "must be a number"),
        ("redis://host:6379/0/1", "must be a number"),
        ("redis://host?db=x", "must be a number"),
        ("redis://host?ssl_cert_reqs=none", "write rediss://"),
        ("rediss://host?ssl_cert_reqs=maybe", "required, optional or none"),
        ("redis://host?databse=1", "no option 'databse'"),
        ("http://host", "expected redis://"),
    ],
)
def test_an_address_that_would_be_misread_is_refused_by_name(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        redis_url.checked(url)
    assert "34@" not in str(caught.value)


@pytest.mark.parametrize(
    "spelling", ["CERT_NONE", "cert_none", "none", "None", "ssl.CERT_NONE", "VerifyMode.CERT_NONE", "0", "CertNone"]
)
def test_spellings_of_unchecked_certificates_mean_one_thing(spelling: str) -> None:
    assert redis_url.checked(f"rediss://host/1?ssl_cert_reqs={spelling}") == "rediss://host/1?ssl_cert_reqs=none"


def test_tls_files_are_found_from_every_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The processes of the service do not run where the URL was written."""
    monkeypatch.chdir(tmp_path)
    url = redis_url.checked(
        "rediss://u:p%23w@host/1?ssl_ca_certs=my%20ca.pem&ssl_keyfile=/k.pem&ssl_check_hostname=true"
    )
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "ssl_ca_certs": str(tmp_path / "my ca.pem"), "ssl_keyfile": "/k.pem", "ssl_check_hostname": "true",
    }  # fmt: skip
    assert "u:p%23w@" in url
    monkeypatch.chdir("/")
    assert redis_url.checked(url) == url


@pytest.mark.parametrize("url", ["REDIS://host:1/2", "Rediss://u:p@host", "redis://host/0?"])
def test_a_scheme_in_capitals_is_understood(url: str) -> None:
    checked = redis_url.checked(url)
    assert checked == url.partition("?")[0].replace("REDIS:", "redis:").replace("Rediss:", "rediss:")
    connect(checked).close()
