"""The function in Terraform: off by default, woken by what the service sends, and allowed no more than it does."""

from __future__ import annotations

import re
from typing import Any

import botocore.session
import pytest

from infra.galleries.keys import POINTERS
from infra.jobs.results import FOLDER as JOB_RESULTS
from infra.jobs.scripts import PHOTOS_PREFIX
from infra.objects.store import image_key, preview_key
from infra.runtime.settings import load_settings, variables
from infra.stack.installation import ID_KEY
from tests.infra.deploy.terraform import FOLDER, TREES, blocks, local, statements
from worker.function_events import RESULTS, UPLOADS

OBJECTS, PHOTOS = "${aws_s3_bucket.objects.arn}", "${aws_s3_bucket.photos[0].arn}"
QUEUE = "${aws_sqs_queue.jobs[0].arn}"
# What S3 calls these actions in policies is not what its API calls them.
OPERATIONS = {"s3:ListBucket": "ListObjectsV2"}


def only(kind: str, name: str) -> dict[str, Any]:
    return blocks("resource", kind)[name]


def default(name: str) -> Any:
    [found] = [block[name] for block in TREES["variables.tf"]["variable"] if name in block]
    return found["default"]


def enumerated(service: str, shape: str) -> list[str]:
    """The values that the API of `service` takes, as Amazon's own library knows them."""
    model = botocore.session.get_session().get_service_model(service)
    found: list[str] = model.shape_for(shape).enum  # type: ignore[attr-defined]
    return found


def test_it_is_off_by_default_and_all_of_it_depends_on_the_image() -> None:
    assert default("function_image") in (None, "null")
    assert local("with_function") == "${var.function_image != null}"
    made = 0
    for path in FOLDER.glob("function*.tf"):
        for block in TREES[path.name]["resource"]:
            for kind, named in block.items():
                for name, body in named.items():
                    made += 1
                    assert body["count"] == "${local.with_function ? 1 : 0}", f"{kind}.{name}"
    assert made >= 14


def test_its_settings_exist_and_load() -> None:
    parts = {
        "${aws_s3_bucket.objects.id}": "shitu-objects",
        "${var.region}": "eu-central-1",
        "${local.redis_url}": local("redis_url"),
        "${random_password.redis.result}": "x",
        "${aws_elasticache_replication_group.redis.primary_endpoint_address}": "redis.example",
        "${one(aws_sqs_queue.jobs[*].url)}": "https://sqs.eu-central-1.amazonaws.com/123456789012/shitu-jobs",
    }
    given = {**local("function_settings"), **local("waking")}
    assert given.keys() <= variables().keys()
    for part, value in parts.items():
        given = {name: text.replace(part, value) for name, text in given.items()}
    settings = load_settings(given)
    assert (settings.objects.own_bucket, settings.jobs.function_queue_url) == (
        "shitu-objects", parts["${one(aws_sqs_queue.jobs[*].url)}"],
    )  # fmt: skip
    assert settings.redis_url == "rediss://:x@redis.example:6379/0"
    [environment] = only("aws_lambda_function", "photos")["environment"]
    assert environment["variables"] == "${merge(local.function_settings, local.waking)}"


def test_the_service_s_processes_wake_it_and_may() -> None:
    definition = only("aws_ecs_task_definition", "process")["container_definitions"]
    assert "merge(local.settings, local.with_function ? local.waking : {})" in definition
    assert local("waking").keys() == {"SHITU_JOBS__FUNCTION_QUEUE_URL"}
    assert only("aws_iam_role_policy", "wake")["role"] == "${aws_iam_role.task.id}"
    [wake] = statements("wake")
    assert (wake["actions"], wake["resources"]) == (["sqs:SendMessage"], [QUEUE])


def test_next_to_it_the_number_of_workers_is_fixed_and_not_nothing() -> None:
    target = only("aws_appautoscaling_target", "workers")
    assert (target["min_capacity"], target["max_capacity"]) == ("${local.least_workers}", "${local.most_workers}")
    assert local("least_workers") == "${local.with_function ? max(var.least_workers, 1) : var.least_workers}"
    assert local("most_workers") == "${local.with_function ? local.least_workers : var.most_workers}"
    assert local("settings")["SHITU_SCALING__LEAST"] == "${tostring(local.least_workers)}"


def test_a_message_comes_again_only_after_its_call_and_ends_among_the_dead_letters() -> None:
    jobs, dead = only("aws_sqs_queue", "jobs"), only("aws_sqs_queue", "dead")
    [times] = re.findall(r"^\$\{(\d+) \* var\.function_timeout_s\}$", str(jobs["visibility_timeout_seconds"]))
    assert int(times) >= 6
    assert int(times) * 900 <= 43_200, "what SQS takes"
    assert only("aws_lambda_function", "photos")["timeout"] == "${var.function_timeout_s}"
    assert "deadLetterTargetArn = aws_sqs_queue.dead[0].arn" in jobs["redrive_policy"]
    assert int(re.findall(r"maxReceiveCount = (\d+)", jobs["redrive_policy"])[0]) >= 5
    assert dead["message_retention_seconds"] > jobs["message_retention_seconds"], "its age goes on counting there"
    assert jobs["sqs_managed_sse_enabled"] is dead["sqs_managed_sse_enabled"] is True
    allowed = only("aws_sqs_queue_redrive_allow_policy", "dead")["redrive_allow_policy"]
    assert "sourceQueueArns = [aws_sqs_queue.jobs[0].arn]" in allowed


def test_the_queue_calls_it_and_hears_which_messages_failed() -> None:
    mapping = only("aws_lambda_event_source_mapping", "jobs")
    assert mapping["event_source_arn"] == QUEUE
    assert mapping["batch_size"] == 1
    assert mapping["function_response_types"] == ["ReportBatchItemFailures"]
    assert set(mapping["function_response_types"]) <= set(enumerated("lambda", "FunctionResponseType"))
    function = only("aws_lambda_function", "photos")
    assert function["package_type"] in enumerated("lambda", "PackageType")
    assert set(function["architectures"]) <= set(enumerated("lambda", "Architecture"))
    assert function["image_uri"] == "${var.function_image}"
    assert (default("function_timeout_s"), default("function_memory_mb")) == (60, 2048), "docs/deploy.md has them"
    [network] = function["vpc_config"]
    assert network["security_group_ids"] == ["${aws_security_group.function[0].id}"]
    [redis] = only("aws_security_group", "redis")["ingress"]
    assert "aws_security_group.function[*].id" in redis["security_groups"], "Redis must let it in"
    ports = {one["from_port"]: one["cidr_blocks"] for one in only("aws_security_group", "function")["egress"]}
    assert ports == {6379: ["${data.aws_vpc.own.cidr_block}"], 443: ["0.0.0.0/0"]}


def test_uploads_below_the_prefix_that_it_reads_wake_it() -> None:
    notification = only("aws_s3_bucket_notification", "photos")
    [sent] = notification["queue"]
    assert (sent["queue_arn"], sent["filter_prefix"], sent["events"]) == (QUEUE, UPLOADS, ["s3:ObjectCreated:*"])
    assert set(sent["events"]) <= set(enumerated("s3", "Event"))
    assert notification["bucket"] != "${aws_s3_bucket.objects.id}", "uploads/ is something else there"
    [statement] = statements("uploads")
    assert (statement["actions"], statement["resources"]) == (["sqs:SendMessage"], [QUEUE])
    assert statement["principals"] == [{"type": "Service", "identifiers": ["s3.amazonaws.com"]}]
    conditions = {one["variable"]: one["values"] for one in statement["condition"]}
    assert conditions == {
        "aws:SourceArn": [PHOTOS],
        "aws:SourceAccount": ["${data.aws_caller_identity.own.account_id}"],
    }


def allowed() -> dict[str, set[str]]:
    """Each action of the function's role, and on what."""
    found: dict[str, set[str]] = {}
    for statement in statements("function"):
        if statement.get("effect") != "Deny":
            for action in statement["actions"]:
                found.setdefault(action, set()).update(statement["resources"])
    return found


def test_its_role_is_for_its_keys_its_queue_and_its_log_alone() -> None:
    may = allowed()
    assert {action.split(":")[0] for action in may} == {"s3", "sqs", "logs", "ec2"}
    known = [PHOTOS_PREFIX, JOB_RESULTS, preview_key("")]
    read = [*known, POINTERS.split("/")[0] + "/", image_key(b"").split("/")[0] + "/"]
    own = {f"{OBJECTS}/{prefix}*" for prefix in read} | {f"{OBJECTS}/{ID_KEY}"}
    assert may["s3:GetObject"] == own | {f"{PHOTOS}/{UPLOADS}*"}
    assert may["s3:PutObject"] == {f"{OBJECTS}/{prefix}*" for prefix in known} | {f"{PHOTOS}/{RESULTS}*"}
    assert may["s3:ListBucket"] == {OBJECTS, PHOTOS}
    assert {action for action in may if action.startswith("s3:")} == {"s3:GetObject", "s3:PutObject", "s3:ListBucket"}
    assert [may[action] for action in may if action.startswith("sqs:")] == [{QUEUE}] * 4
    assert [may[action] for action in may if action.startswith("logs:")] == [
        {"${aws_cloudwatch_log_group.function[0].arn}:*"}
    ] * 2


def test_only_lambda_itself_makes_network_interfaces_in_its_name() -> None:
    [denied] = [one for one in statements("function") if one.get("effect") == "Deny"]
    assert set(denied["actions"]) == {action for action in allowed() if action.startswith("ec2:")}
    [condition] = denied["condition"]
    assert condition["variable"] == "lambda:SourceFunctionArn"
    assert condition["values"] == ["arn:aws:lambda:${local.account}:function:${var.name}"]
    assert only("aws_lambda_function", "photos")["function_name"] == "${var.name}"


@pytest.mark.parametrize("action", sorted(allowed()))
def test_each_action_is_one_that_amazon_has(action: str) -> None:
    service, operation = action.split(":")
    model = botocore.session.get_session().get_service_model(service)
    assert OPERATIONS.get(action, operation) in model.operation_names
