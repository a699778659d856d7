"""The Terraform files: formatted and parsed, what they refer to is there, settings exist, roles are narrow.

Their provider is not here, so types and names of AWS' resources are not checked: `terraform validate` does that where the
provider can be downloaded.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from infra.jobs.load import described
from infra.jobs.scaling import Load
from infra.runtime.settings import ScalingSettings, load_settings, variables
from shitu.cli.main import main
from tests.infra.deploy.terraform import FILES, FOLDER, TREES, blocks, local, parsed, statements


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_each_file_parses(path: Path) -> None:
    assert TREES[path.name]


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
    own = {f"local.{name}" for tree in TREES.values() for block in tree.get("locals", []) for name in block}
    used = set(re.findall(r"(?<![\w.\"])((?:data\.)?(?:aws|random)_\w+\.\w+)", text))
    assert used - declared - data == set()
    assert set(re.findall(r"\b(var\.\w+)", text)) == given
    assert set(re.findall(r"\b(local\.\w+)", text)) <= own


def references() -> dict[str, set[str]]:
    """What each resource, data source and local value needs before it."""
    bodies: dict[str, object] = {}
    for tree in TREES.values():
        for kind, prefix in (("resource", ""), ("data", "data.")):
            for block in tree.get(kind, []):
                bodies |= {f"{prefix}{of}.{name}": body for of, named in block.items() for name, body in named.items()}
        bodies |= {f"local.{name}": value for block in tree.get("locals", []) for name, value in block.items()}
    named = re.compile(r"(?<![\w.])((?:data\.)?(?:aws|random)_\w+\.\w+|local\.\w+)")
    return {name: set(named.findall(str(body))) for name, body in bodies.items()}


def test_nothing_needs_itself_before_it() -> None:
    found = references()
    order = list(TopologicalSorter(found).static_order())
    assert order.index("aws_sqs_queue.dead") < order.index("aws_sqs_queue.jobs") < order.index("local.waking")
    with pytest.raises(CycleError):
        list(
            TopologicalSorter({**found, "aws_sqs_queue.dead": {"aws_lambda_event_source_mapping.jobs"}}).static_order()
        )


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


# These know no resource: AWS refuses a policy that names one.
EVERYWHERE = {"ecr:GetAuthorizationToken", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets"}


def test_no_role_may_do_anything_everywhere() -> None:
    allowed = 0
    for name in blocks("data", "aws_iam_policy_document"):
        for statement in statements(name):
            if statement.get("effect") == "Deny":
                continue
            allowed += 1
            assert not [action for action in statement["actions"] if "*" in action], name
            if "*" in statement["resources"]:
                assert set(statement["actions"]) <= EVERYWHERE, name
    assert allowed > 12
    assert {action.split(":")[0] for one in statements("task") for action in one["actions"]} == {"s3"}


def test_what_is_stored_is_closed_and_encrypted_and_redis_drops_nothing() -> None:
    buckets = blocks("resource", "aws_s3_bucket").keys()
    assert blocks("resource", "aws_s3_bucket_server_side_encryption_configuration").keys() == buckets
    closed = blocks("resource", "aws_s3_bucket_public_access_block")
    assert closed.keys() == buckets
    wanted = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")
    for one in closed.values():
        assert [one[name] for name in wanted] == [True] * 4
    [group] = blocks("resource", "aws_elasticache_parameter_group").values()
    assert {one["name"]: one["value"] for one in group["parameter"]} == {"maxmemory-policy": "noeviction"}
    [redis] = blocks("resource", "aws_elasticache_replication_group").values()
    assert redis["transit_encryption_enabled"] is redis["at_rest_encryption_enabled"] is True
    assert "num_node_groups" not in redis, "a Redis Cluster is refused"
