"""`shitu keys` on the Redis of the settings, on the data folder's own, and through a service that requires a key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from infra.keys.store import KeyStore
from infra.redis.client import connect, open_client
from infra.redis.server import RedisServer
from infra.runtime.settings import Settings
from shitu.cli.main import main
from tests.web.keyed import with_keys
from tests.web.serving import serving


def run(*words: str, **env: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["keys", *words], env=env)
    return done.exit_code, done.stdout, done.stderr


def test_a_key_is_made_listed_and_revoked(settings: Settings) -> None:
    env = settings.to_env()
    status, out, report = run("create", "--name", "till", "--scope", "recognize", "--open-jobs", "5", **env)
    assert (status, out.count("\n")) == (0, 1)  # the key alone, for a variable of a shell
    assert "not shown again" in report
    key = KeyStore(open_client(settings)).find(out.strip())
    assert (key.name, key.limits.open_jobs) == ("till", 5)
    status, out, _ = run("list", "--json", **env)
    assert [(one["id"], one["scopes"]) for one in json.loads(out)] == [(key.id, ["recognize"])]
    assert key.id in run("list", **env)[1]
    assert run("revoke", key.id, **env)[0] == 0
    status, _, report = run("revoke", key.id, **env)
    assert (status, "key_not_found" in report) == (1, True)
    assert json.loads(run("list", "--json", **env)[1]) == []


def test_as_json_all_is_reported_at_once(settings: Settings) -> None:
    made = json.loads(run("create", "--scope", "read", "--expires-days", "30", "--json", **settings.to_env())[1])
    assert made.keys() == {"id", "name", "scopes", "created_at", "expires_at", "last_used_at", "limits", "token"}
    assert made["expires_at"] is not None


@pytest.mark.parametrize("words", [["--scope", "write"], [], ["--scope", "read", "--name", " "]])
def test_wrong_words_are_refused(settings: Settings, words: list[str]) -> None:
    assert run("create", *words, **settings.to_env())[0] == 2


def test_without_a_redis_of_the_settings_it_is_the_data_folders_own(tmp_path: Path) -> None:
    env = {"SHITU_DATA_DIR": str(tmp_path), "REDIS_URL": "", "SHITU_REDIS_URL": ""}
    status, token, report = run("create", "--scope", "admin", **env)
    assert status == 0, report
    with RedisServer(tmp_path / "redis") as running:  # as `shitu up` has it: the command joins it then
        assert KeyStore(connect(running.url)).find(token.strip()).name == "unnamed"
        assert len(json.loads(run("list", "--json", **env)[1])) == 1


def test_through_a_service_with_an_admins_key(settings: Settings, tmp_path: Path) -> None:
    admin = run("create", "--scope", "admin", **settings.to_env())[1].strip()
    with serving(with_keys(settings), tmp_path / "web.log") as url:
        assert "key_missing" in run("list", "--server", url, SHITU_KEY="")[2]
        made = json.loads(run("create", "--scope", "read", "--json", "--server", url, SHITU_KEY=admin)[1])
        assert "scope_missing" in run("list", "--server", url, SHITU_KEY=made["token"])[2]
        listed = json.loads(run("list", "--json", "--server", url, SHITU_KEY=admin)[1])
        assert [one["scopes"] for one in listed] == [["admin"], ["read"]]
        assert run("revoke", made["id"], "--server", url, SHITU_KEY=admin)[0] == 0
        galleries = CliRunner().invoke(main, ["gallery", "list", "--server", url], env={"SHITU_KEY": admin})
        assert galleries.exit_code == 0
