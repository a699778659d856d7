"""The Terraform files: formatted and parsed, what they refer to is there, settings exist, roles are narrow.

Their provider is not here, so types and names of AWS' resources are not checked: `terraform validate` does that where the
provider can be downloaded.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from infra.jobs.load import described
from infra.jobs.scaling import Load
from infra.runtime.settings import ScalingSettings, load_settings, variables
from shitu.cli.main import main
from tests.docs_reader import ROOT

FOLDER = ROOT / "infra/deploy/aws"
FILES = sorted(FOLDER.glob("*.tf"))


def bare(value: Any) -> Any:
    """A parsed value without the quotes and the marks that the parser leaves."""
    if isinstance(value, dict):
        return {str(bare(name)): bare(inner) for name, inner in value.items() if not str(name).startswith("__")}
    if isinstance(value, list):
        return [bare(inner) for inner in value]
    return value[1:-1] if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"' else value


def parsed(path: Path) -> dict[str, Any]:
    import hcl2  # whose grammar takes a moment to make

    with path.open(encoding="utf-8") as file:
        found: dict[str, Any] = bare(hcl2.load(file))
    return found


@cache
def trees() -> dict[str, dict[str, Any]]:
    """All files, by name."""
    return {path.name: parsed(path) for path in FILES}


def blocks(kind: str, of: str) -> dict[str, dict[str, Any]]:
    """All blocks `kind "of" "name"`, by name."""
    found: dict[str, dict[str, Any]] = {}
    for tree in trees().values():
        for block in tree.get(kind, []):
            for name, body in block.get(of, {}).items():
                found[name] = body
    return found


def local(name: str) -> Any:
    [found] = [block[name] for tree in trees().values() for block in tree.get("locals", []) if name in block]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_parses(path: Path) -> None:
    assert trees()[path.name]


def test_a_file_that_is_no_hcl_does_not_parse(tmp_path: Path) -> None:
    (tmp_path / "x.tf").write_text('resource "a" "b" {', encoding="utf-8")
    with pytest.raises(Exception, match=r"(?i)unexpected"):
        parsed(tmp_path / "x.tf")


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed")
def test_terraform_itself_finds_them_formatted() -> None:
    said = subprocess.run(
        ["terraform", f"-chdir={FOLDER}", "fmt", "-check"], capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == (0, ""), said.stderr


def test_what_they_refer_to_is_declared() -> None:
    text = "\n".join(re.sub(r"#.*", "", path.read_text(encoding="utf-8")) for path in FILES)
    declared = {f"{kind}.{name}" for kind, name in re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE)}
    data = {f"data.{kind}.{name}" for kind, name in re.findall(r'^data "(\w+)" "(\w+)"', text, re.MULTILINE)}
    given = {f"var.{name}" for name in re.findall(r'^variable "(\w+)"', text, re.MULTILINE)}
    own = {f"local.{name}" for tree in trees().values() for block in tree.get("locals", []) for name in block}
    used = set(re.findall(r"(?<![\w.\"])((?:data\.)?(?:aws|random)_\w+\.\w+)", text))
    assert used - declared - data == set()
    assert set(re.findall(r"\b(var\.\w+)", text)) == given
    assert set(re.findall(r"\b(local\.\w+)", text)) <= own


def test_every_setting_exists_and_they_load() -> None:
    report = {name: re.sub(r"\$\{[^}]*\}", "x", str(value)) for name, value in local("settings").items()}
    report |= {
        "SHITU_OBJECTS__REGION": "eu-central-1",
        "SHITU_SCALING__LEAST": "0",
        "SHITU_WEB__TRUSTED_PROXIES": "10.0.0.0/16",
    }
    assert {name for name in report if name.startswith("SHITU_")} <= variables().keys()
    settings = load_settings({**report, "SHITU_REDIS_URL": "rediss://:x@redis.example:6379/0"})
    assert settings.keys.required is True
    stops = {name: int(process["stop"]) for name, process in local("processes").items()}
    assert all(name in main.list_commands(None) for name in stops)  # type: ignore[arg-type]
    assert settings.worker.shutdown_s < stops["worker"] == stops["courier"] == 120, "Fargate grants no more"
    secret = (FOLDER / "secrets.tf").read_text(encoding="utf-8")
    assert set(re.findall(r"\b(SHITU_\w+)\s*=", secret)) == {"SHITU_REDIS_URL", "SHITU_WEBHOOKS__SECRET"}


def test_the_figure_that_scales_is_one_that_the_keeper_logs() -> None:
    [filtered] = blocks("resource", "aws_cloudwatch_log_metric_filter").values()
    assert '$.message = \\"load\\"' in filtered["pattern"]
    [metric] = filtered["metric_transformation"]
    assert metric["value"].removeprefix("$.") in described(Load(), ScalingSettings())
    assert float(local("settings")["SHITU_SCALING__LOG_S"]) <= 30, "each minute needs its figure"


def test_no_role_may_do_anything_everywhere() -> None:
    for name, document in blocks("data", "aws_iam_policy_document").items():
        for statement in document["statement"]:
            actions = statement["actions"]
            assert not [action for action in actions if "*" in action], name
            if statement.get("resources") == ["*"]:
                assert actions == ["ecr:GetAuthorizationToken"]
    allowed = [
        action for one in blocks("data", "aws_iam_policy_document")["task"]["statement"] for action in one["actions"]
    ]
    assert {action.split(":")[0] for action in allowed} == {"s3"}


def test_what_is_stored_is_closed_and_encrypted_and_redis_drops_nothing() -> None:
    [closed] = blocks("resource", "aws_s3_bucket_public_access_block").values()
    wanted = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    assert [closed[name] for name in wanted] == [True] * 4
    [group] = blocks("resource", "aws_elasticache_parameter_group").values()
    assert {one["name"]: one["value"] for one in group["parameter"]} == {"maxmemory-policy": "noeviction"}
    [redis] = blocks("resource", "aws_elasticache_replication_group").values()
    assert redis["transit_encryption_enabled"] is redis["at_rest_encryption_enabled"] is True
    assert "num_node_groups" not in redis, "a Redis Cluster is refused"
