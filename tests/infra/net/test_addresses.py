"""Every spelling of a private address is refused, and only what was checked is connected to."""

from __future__ import annotations

import threading
import time
from itertools import count

import pytest

from infra.errors.photos import AddressForbidden, FetchFailed, FetchTimeout, InvalidUrl
from infra.net.addresses import Target, check_url, is_allowed, parse_url

PUBLIC = "93.184.216.34"
EVERY_PRIVATE = ("0.0.0.0/0", "::/0")


def names(**addresses: list[str]):
    """A resolver that knows only these names (an underscore is a dot)."""
    known = {name.replace("_", "."): found for name, found in addresses.items()}

    def resolver(host: str, port: int) -> list[str]:
        if host not in known:
            raise OSError("unknown name")
        return known[host]

    return resolver


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.1/",
        "http://127.255.255.254:8000/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://１２７.0.0.1/",
        "http://localhost/",
        "http://LOCALHOST:8000/",
        "http://0/",
        "http://0.0.0.0/",
        "http://[::]/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]:8000/",
        "http://[::127.0.0.1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[::ffff:0:127.0.0.1]/",
        "http://[2002:7f00:1::]/",
        "http://[2002:a9fe:a9fe::1]/",
        "http://[2001:0:7f00:1::1]/",
        "http://[64:ff9b::127.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://[64:ff9b:1::a00:1]/",
        "http://10.1.2.3/",
        "http://172.16.0.1/",
        "http://172.31.255.255/",
        "http://192.168.1.1/",
        "http://100.64.0.1/",
        "http://100.100.100.200/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "http://0xa9fea9fe/",
        "http://168.63.129.16/",
        "http://192.0.0.170/",
        "http://198.18.0.1/",
        "http://224.0.0.1/",
        "http://255.255.255.255/",
        "http://240.0.0.1/",
        "http://[fc00::1]/",
        "http://[fd00:ec2::254]/latest/meta-data/",
        "http://[fe80::1]/",
        "http://[fec0::1]/",
        "http://[ff02::1]/",
        "http://[2001:db8::1]/",
        "http://[4000::1]/",
    ],
)
def test_private_addresses_are_refused_however_they_are_written(url: str) -> None:
    with pytest.raises(AddressForbidden):
        check_url(url)


@pytest.mark.parametrize("port", [1, 22, 25, 81, 442, 444, 1023])
def test_low_ports_of_other_services_are_refused(port: int) -> None:
    with pytest.raises(AddressForbidden, match=str(port)):
        check_url(f"http://{PUBLIC}:{port}/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.jpg",
        "//example.org/a.jpg",
        "file:///etc/passwd",
        "ftp://example.org/a.jpg",
        "gopher://example.org:6379/_PING",
        "javascript:alert(1)",
        "http://",
        "http:///a.jpg",
        "http://user@example.org/",
        "http://user:password@example.org/",
        "http://example.org:99999/",
        "http://example.org:0/",
        "http://example.org:eighty/",
        "http://exa mple.org/",
        "http://example.org/a b",
        "http://example.org/a\r\nX-Injected: 1",
        "http://example.org\\@127.0.0.1/",
        "http://example.org\x00.evil.org/",
        "http://a..b/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://[v1.fe]/",
        "http://exa%6dple.org/",
        "http://example.org/" + "a" * 3000,
    ],
)
def test_what_is_no_plain_http_url_is_invalid(url: str) -> None:
    with pytest.raises(InvalidUrl):
        check_url(url, resolver=names(example_org=[PUBLIC]))


def test_a_public_url_is_pinned_to_its_addresses() -> None:
    resolver = names(example_org=[PUBLIC, "2606:2800:220:1::1"])
    target = check_url("https://Example.org/a%20b/ü?q=1&r=ä#part", resolver=resolver)
    assert target == Target("https", "example.org", 443, "/a%20b/%C3%BC?q=1&r=%C3%A4", (PUBLIC, "2606:2800:220:1::1"))
    assert target.host_header == "example.org"


@pytest.mark.parametrize(
    ("url", "header"),
    [
        ("http://example.org:80/", "example.org"),
        ("http://example.org:443/", "example.org:443"),
        ("https://example.org:8443/", "example.org:8443"),
    ],
)
def test_the_host_header_leaves_out_only_the_schemes_own_port(url: str, header: str) -> None:
    assert check_url(url, resolver=names(example_org=[PUBLIC])).host_header == header


def test_an_ipv6_host_keeps_its_brackets_in_the_header() -> None:
    target = check_url("http://[2606:4700:0::1111]:8080/x")
    assert target.host == "2606:4700::1111"
    assert target.url == "http://[2606:4700::1111]:8080/x"


def test_names_of_other_alphabets_are_looked_up_in_ascii() -> None:
    assert check_url("http://bücher.example/", resolver=names(**{"xn--bcher-kva_example": [PUBLIC]})).addresses == (
        PUBLIC,
    )


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(AddressForbidden):
        check_url("http://mixed.example/", resolver=names(mixed_example=[PUBLIC, "10.0.0.7"]))


def test_a_name_is_looked_up_once() -> None:
    looked_up = count()

    def rebinding(host: str, port: int) -> list[str]:
        return [PUBLIC] if next(looked_up) == 0 else ["127.0.0.1"]

    assert check_url("http://rebinding.example/", resolver=rebinding).addresses == (PUBLIC,)
    assert next(looked_up) == 1


def test_private_addresses_can_be_allowed_but_metadata_and_link_local_never() -> None:
    for address in ("127.0.0.1", "::1", "10.0.0.1", "192.168.0.1", "100.64.0.1", "fd12::1", "::ffff:127.0.0.1"):
        assert is_allowed(address, allowed=EVERY_PRIVATE), address
    for address in ("169.254.169.254", "fd00:ec2::254", "168.63.129.16", "0.0.0.0", "::", "224.0.0.1", "fe80::1",
                    "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "not an address", "fd12::1%eth0"):  # fmt: skip
        assert not is_allowed(address, allowed=EVERY_PRIVATE), address


@pytest.mark.parametrize(
    ("host", "address", "allowed", "open_to_it"),
    [
        ("hooks.internal", "10.0.0.7", ["hooks.internal"], True),
        ("HOOKS.internal.", "10.0.0.7", ["hooks.internal"], True),
        ("hooks.internal", "10.0.0.7", ["*.internal"], True),
        ("internal", "10.0.0.7", ["*.internal"], False),
        ("evilinternal", "10.0.0.7", ["*.internal"], False),
        ("other.internal", "10.0.0.7", ["hooks.internal"], False),
        ("anything.example", "10.0.0.7", ["10.0.0.7"], True),
        ("anything.example", "10.0.0.8", ["10.0.0.7"], False),
        ("anything.example", "10.9.9.9", ["192.168.0.0/16", "10.0.0.0/8"], True),
        ("anything.example", "::ffff:10.9.9.9", ["10.0.0.0/8"], True),
        ("anything.example", "fd12::1", ["fd00::/8"], True),
        ("anything.example", "10.0.0.7", ["fd00::/8"], False),
        ("localhost", "127.0.0.1", ["localhost"], True),
        ("meta.internal", "169.254.169.254", ["meta.internal", "169.254.169.254", "169.254.0.0/16"], False),
    ],
)
def test_only_the_hosts_of_the_list_may_be_private(
    host: str, address: str, allowed: list[str], open_to_it: bool
) -> None:
    def resolver(_host: str, _port: int) -> list[str]:
        return [address]

    url = f"http://{host}:8080/hook"
    if open_to_it:
        assert check_url(url, allowed, resolver=resolver).addresses == (address,)
    else:
        with pytest.raises(AddressForbidden):
            check_url(url, allowed, resolver=resolver)


def test_public_addresses_are_allowed() -> None:
    for address in (
        PUBLIC,
        "8.8.8.8",
        "172.32.0.1",
        "100.128.0.1",
        "2606:4700::1111",
        "64:ff9b::8.8.8.8",
        "2002:808:808::",
    ):
        assert is_allowed(address), address


def test_an_unknown_name_is_an_unreachable_server() -> None:
    with pytest.raises(FetchFailed):
        check_url("http://unknown.example/", resolver=names())


def test_a_name_server_that_does_not_answer_ends_at_the_time_limit() -> None:
    release = threading.Event()

    def silent(host: str, port: int) -> list[str]:
        release.wait(30)
        return [PUBLIC]

    started = time.monotonic()
    with pytest.raises(FetchTimeout):
        check_url("http://slow.example/", resolver=silent, timeout_s=0.2)
    assert time.monotonic() - started < 5
    release.set()


def test_the_parts_of_a_url() -> None:
    assert parse_url("http://example.org") == ("http", "example.org", 80, "/")
    assert parse_url("https://example.org?x=/../#f") == ("https", "example.org", 443, "/?x=/../")
