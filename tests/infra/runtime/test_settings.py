"""Settings: one definition, every mistake at once, and the same settings again in a child process."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from infra.errors.service import ConfigurationError
from infra.runtime.settings import Settings, WebhookSettings, load_settings, variables


def test_nothing_set_gives_the_defaults() -> None:
    settings = load_settings({})
    assert settings == replace(Settings(), data_dir=Path("var").absolute())


def test_groups_are_reached_by_two_underscores() -> None:
    settings = load_settings(
        {
            "SHITU_WEB__PORT": "9000",
            "SHITU_WEBHOOKS__ALLOWED_HOSTS": " Hooks.Internal., 10.0.0.0/8 ,[fd00::7]",
            "SHITU_WEBHOOKS__SCHEDULE_S": "0, 1.5,60",
            "SHITU_OBJECTS__URL": "s3://bucket/prefix",
            "SHITU_WORKER__DETECTOR": "none",
            "SHITU_DATA_DIR": "~/shitu",
            "UNRELATED": "x",
        }
    )
    assert settings.web.port == 9000
    assert settings.webhooks == WebhookSettings(
        allowed_hosts=("hooks.internal", "10.0.0.0/8", "fd00::7"), schedule_s=(0.0, 1.5, 60.0)
    )
    assert settings.objects.url == "s3://bucket/prefix"
    assert settings.worker.detector == "none"
    assert settings.data_dir == Path.home() / "shitu"


def test_all_mistakes_are_reported_at_once() -> None:
    with pytest.raises(ConfigurationError) as raised:
        load_settings(
            {
                "SHITU_WEB_PORT": "1",
                "SHITU_WEB__PORT": "70000",
                "SHITU_WORKER__ENGINE": "tpu",
                "SHITU_JOBS__LEASE_S": "0",
                "SHITU_JOBS__MAX_ATTEMPTS": "many",
                "SHITU_OBJECTS__URL": "ftp://host",
                "SHITU_WEBHOOKS__SCHEDULE_S": "1,-2",
                "SHITU_WEBHOOKS__TIMEOUT_S": "inf",
                "SHITU_DATA_DIR": "~no-such-user-here/x",
                "SHITU_QUITE_SOMETHING_ELSE": "1",
            }
        )
    problems = "\n".join(raised.value.problems)
    assert "SHITU_WEB_PORT: there is no such setting (did you mean SHITU_WEB__PORT?)" in problems
    assert "SHITU_QUITE_SOMETHING_ELSE: there is no such setting" in problems
    for name in (
        "WEB__PORT",
        "WORKER__ENGINE",
        "JOBS__LEASE_S",
        "JOBS__MAX_ATTEMPTS",
        "OBJECTS__URL",
        "WEBHOOKS__SCHEDULE_S",
        "WEBHOOKS__TIMEOUT_S",
        "DATA_DIR",
    ):
        assert f"SHITU_{name}: " in problems
    assert len(raised.value.problems) == 10
    assert all(problem in str(raised.value) for problem in raised.value.problems)


@pytest.mark.parametrize("misspelt", ["SHITU_LOG__LEVELS", "shitu_log__level", "SHITU_LOGLEVEL", "SHITU_LOG_LEVEL"])
def test_a_misspelt_name_gets_a_suggestion(misspelt: str) -> None:
    with pytest.raises(ConfigurationError, match="did you mean SHITU_LOG__LEVEL"):
        load_settings({misspelt: "INFO"})


def test_redis_url_with_or_without_prefix() -> None:
    assert load_settings({"REDIS_URL": "redis://a/1"}).redis_url == "redis://a/1"
    assert load_settings({"SHITU_REDIS_URL": "rediss://a"}).redis_url == "rediss://a"
    assert load_settings({"REDIS_URL": ""}).redis_url is None
    assert load_settings({"REDIS_URL": "unix:///a", "SHITU_REDIS_URL": "unix:///a"}).redis_url == "unix:///a"
    with pytest.raises(ConfigurationError, match="differ"):
        load_settings({"REDIS_URL": "redis://a", "SHITU_REDIS_URL": "redis://b"})
    for wrong in ("http://a", "unix://", "localhost:6379"):
        with pytest.raises(ConfigurationError, match="SHITU_REDIS_URL: expected redis://"):
            load_settings({"REDIS_URL": wrong})


def test_secrets_are_never_shown() -> None:
    password, short = "hunter2", "whsec_c2hvcnQ="
    with pytest.raises(ConfigurationError) as raised:
        load_settings({"REDIS_URL": f"http://:{password}@host", "SHITU_WEBHOOKS__SECRET": short})
    assert password not in str(raised.value)
    assert short not in str(raised.value)
    secret = "whsec_" + "YWJj" * 8
    settings = load_settings({"REDIS_URL": f"redis://:{password}@host", "SHITU_WEBHOOKS__SECRET": secret})
    assert settings.webhooks.secret == secret
    assert password not in repr(settings)
    assert secret not in repr(settings)


@pytest.mark.parametrize("secret", ["abc", "whsec_", "whsec_***", "whsec_" + "YWJj" * 7, "whsec_" + "YWJj" * 22])
def test_a_webhook_secret_is_24_to_64_bytes(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="SHITU_WEBHOOKS__SECRET: expected whsec_"):
        load_settings({"SHITU_WEBHOOKS__SECRET": secret})


@pytest.mark.parametrize(
    "host", ["http://hooks.internal", "10.0.0.1/8", "10.0.0.300", "hooks.internal:80", "a b", "*", "/"]
)
def test_an_allowed_host_is_a_name_an_address_or_a_network(host: str) -> None:
    with pytest.raises(ConfigurationError, match="SHITU_WEBHOOKS__ALLOWED_HOSTS: expected host names"):
        load_settings({"SHITU_WEBHOOKS__ALLOWED_HOSTS": f"hooks.internal,{host}"})


def test_a_child_process_gets_identical_settings(tmp_path: Path) -> None:
    given = load_settings(
        {
            "REDIS_URL": "unix:///run/redis.sock?db=2",
            "SHITU_DATA_DIR": str(tmp_path),
            "SHITU_JOBS__LEASE_S": "0.1",
            "SHITU_WEB__ALLOWED_HOSTS": "10.0.0.7,*.internal",
            "SHITU_WEBHOOKS__SCHEDULE_S": "0,0.333333333333",
            "SHITU_WEBHOOKS__SECRET": "whsec_" + "YWJj" * 8,
            "SHITU_OBJECTS__URL": "file:///data/objects",
        }
    )
    assert load_settings(given.to_env()) == given
    program = "from infra.runtime.settings import load_settings; print(sorted(load_settings().to_env().items()))"
    own = {name: value for name, value in os.environ.items() if not name.startswith(("SHITU_", "REDIS_URL"))}
    env = own | given.to_env()
    child = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == str(sorted(given.to_env().items()))


def test_every_setting_has_a_variable() -> None:
    names = variables()
    assert names["SHITU_WEB__MAX_BODY_BYTES"] == ("web", "max_body_bytes")
    assert names["SHITU_REDIS_URL"] == ("redis_url",)
    assert len(names) > 30
