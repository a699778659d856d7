"""The Kubernetes manifests: each overlay rendered, each resource strictly by its API's schema, each name in them one of ours.

No cluster runs here. `kubernetes-validate` has Kubernetes' own schemas, cloudcoil's packages models that were generated from
KEDA's and the Prometheus operator's definitions (CRDs). These know no trigger's metadata, and let unknown members pass: so
there are stricter schemas of ours as well, of what is used.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import redis
import yaml
from click.testing import CliRunner

from infra.jobs.ledger import JobLedger
from infra.jobs.load import ScalingCollector
from infra.jobs.scripts import OPEN
from infra.runtime.settings import ScalingSettings, load_settings, variables
from infra.stack.exposure import refuse_unprotected
from shitu.cli.main import main
from tests.docs_reader import ROOT
from tests.infra.deploy.custom_resources import CUSTOM
from tests.infra.deploy.kustomize import Resource, containers, render

FOLDER = ROOT / "infra/deploy/k8s"
OVERLAYS = ("small", "production", "aws")
VERSIONS = (pytest.param("1.29", marks=pytest.mark.slow), "1.33")
OURS = ("web", "worker", "courier", "keeper")
SECRET = "whsec_" + "c2hpdHUtdGVzdHMtb25seS1zaGl0dS10ZXN0cy1vbmx5"
OF_THE_SECRET = {"REDIS_URL", "SHITU_WEBHOOKS__SECRET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}


@pytest.fixture(scope="module", params=OVERLAYS)
def rendered(request: pytest.FixtureRequest) -> list[Resource]:
    return render(FOLDER / "overlays" / request.param)


def named(resources: list[Resource], kind: str, name: str) -> Resource:
    [found] = [one for one in resources if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def check(resource: Resource, version: str = "1.33") -> None:
    """Raises jsonschema.ValidationError for an unknown field, a wrong type, a missing one."""
    if resource["kind"] in CUSTOM:
        jsonschema.validate(resource, CUSTOM[resource["kind"]])
        assert known(resource) == resource
    else:
        kubernetes_validate.validate(resource, version, strict=True)


def known(resource: Resource) -> Resource:
    """What the definition of a custom resource's own project keeps of it: all, where it knows every member and its type.

    Raises pydantic.ValidationError.
    """
    # Thousands of classes, which take three seconds to make: not when tests are collected, and once for all of them.
    from cloudcoil.models.keda.v1alpha1 import ScaledObject
    from cloudcoil.models.prometheus_operator.v1 import PrometheusRule, ServiceMonitor

    models: dict[str, Any] = {one.__name__: one for one in (ScaledObject, ServiceMonitor, PrometheusRule)}
    model = models[resource["kind"]]
    found: Resource = model.model_validate(resource).model_dump(by_alias=True, exclude_unset=True, mode="json")
    return found


@pytest.mark.parametrize("path", [["spec"], ["spec", "triggers", 0], ["spec", "fallback"], ["spec", "advanced"]])
def test_kedas_own_definition_finds_a_member_that_it_lacks(path: list[Any]) -> None:
    resource = copy.deepcopy(named(render(FOLDER / "overlays/small"), "ScaledObject", "worker"))
    place: Any = resource
    for step in path:
        place = place[step]
    place["minReplicas"] = 0
    assert known(resource) != resource
    del resource["spec"]["scaleTargetRef"]
    with pytest.raises(ValueError, match="scaleTargetRef"):
        known(resource)


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_accept_each_resource(rendered: list[Resource], version: str) -> None:
    for resource in rendered:
        check(resource, version)


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "worker", ["spec", "template", "spec", "containers", 0, "envfrom"], []),
        ("Deployment", "web", ["spec", "replicas"], "2"),
        ("NetworkPolicy", "inside-only", ["spec", "egres"], []),
        ("ScaledObject", "worker", ["spec", "minReplicas"], 0),
        ("ScaledObject", "worker", ["spec", "triggers", 0, "metadata", "targetValue"], 1),
        ("ScaledObject", "worker", ["spec", "triggers", 1, "metadata", "listname"], "x"),
        ("ServiceMonitor", "shitu", ["spec", "endpoints", 0, "interval"], 15),
    ],
)
def test_a_mistake_is_found(kind: str, name: str, path: list[Any], value: object) -> None:
    resource = copy.deepcopy(named(render(FOLDER / "overlays/small"), kind, name))
    place: Any = resource
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check(resource)


def test_no_resource_is_there_twice(rendered: list[Resource]) -> None:
    keys = [(one["kind"], one["metadata"]["name"]) for one in rendered]
    assert len(keys) == len(set(keys))
    assert {name for kind, name in keys if kind == "Deployment"} == set(OURS)


def test_every_setting_exists_and_they_load(rendered: list[Resource]) -> None:
    data = named(rendered, "ConfigMap", "shitu")["data"]
    assert {name for name in data if name.startswith("SHITU_")} <= variables().keys()
    settings = load_settings({**data, "REDIS_URL": "redis://redis:6379/0", "SHITU_WEBHOOKS__SECRET": SECRET})
    refuse_unprotected(settings)
    assert settings.keys.required is True
    assert settings.scaling.least == 0
    assert data["PROMETHEUS_MULTIPROC_DIR"].startswith(f"{settings.data_dir}/")
    for resource in rendered:
        for container in containers(resource):
            for variable in container.get("env", ()):
                assert "value" not in variable, "what is set stands in the ConfigMap"
                assert variable["valueFrom"]["secretKeyRef"]["key"] in OF_THE_SECRET


def test_nothing_secret_stands_in_a_manifest(rendered: list[Resource]) -> None:
    assert not [one for one in rendered if one["kind"] == "Secret"]
    assert not {"SHITU_WEBHOOKS__SECRET", "SHITU_KEY"} & named(rendered, "ConfigMap", "shitu")["data"].keys()


@pytest.mark.parametrize("name", OURS)
def test_each_process_is_started_as_the_image_does_and_locked_up(rendered: list[Resource], name: str) -> None:
    pod = named(rendered, "Deployment", name)["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [command] = container["args"]
    assert CliRunner().invoke(main, [command, "--help"]).exit_code == 0
    assert container["image"].rpartition("/")[2].partition(":")[0] == f"shitu-{'worker' if name == 'worker' else 'web'}"
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    locked = container["securityContext"]
    assert (locked["readOnlyRootFilesystem"], locked["allowPrivilegeEscalation"]) == (True, False)
    assert locked["capabilities"] == {"drop": ["ALL"]}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/data", "/tmp"}
    assert len(pod["topologySpreadConstraints"]) == 2


def test_there_is_time_to_stop(rendered: list[Resource]) -> None:
    settings = load_settings(named(rendered, "ConfigMap", "shitu")["data"] | {"REDIS_URL": "redis://redis:6379/0"})
    for name in ("worker", "courier"):
        pod = named(rendered, "Deployment", name)["spec"]["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] > settings.worker.shutdown_s + 10


def test_workers_scale_to_zero_by_the_policys_figure(rendered: list[Resource], redis_client: redis.Redis) -> None:
    spec = named(rendered, "ScaledObject", "worker")["spec"]
    assert "replicas" not in named(rendered, "Deployment", "worker")["spec"], (
        "KEDA's number would be undone by each apply"
    )
    assert spec["minReplicaCount"] in {0, 1}
    scraped, woken = (trigger["metadata"] for trigger in spec["triggers"])
    report = ScalingCollector(JobLedger(redis_client), ScalingSettings()).collect()
    assert scraped["valueLocation"] in {family.name for family in report}
    port = named(rendered, "Service", "web")["spec"]["ports"][0]["port"]
    assert scraped["url"] == f"http://web:{port}/metrics"
    assert woken["listName"] == OPEN
    data = named(rendered, "ConfigMap", "shitu")["data"]
    assert data["SHITU_KEYS__OPEN_METRICS"] == "true", "KEDA has no key"
    assert float(data["SHITU_SCALING__STARTUP_S"]) > 10


def test_keda_wakes_the_first_worker_by_what_the_ledger_really_writes(redis_client: redis.Redis) -> None:
    script = redis_client.register_script("return redis.call('zcard', KEYS[1])")  # what KEDA does with a sorted set
    assert script(keys=[OPEN]) == 0
    JobLedger(redis_client).create("recognition", {"gallery": "drinks"})
    assert script(keys=[OPEN]) == 1


def test_budgets_policies_and_monitors_select_pods_that_are_there(rendered: list[Resource]) -> None:
    apps = {
        one["spec"]["template"]["metadata"]["labels"]["app"]
        for one in rendered
        if one["kind"] in {"Deployment", "StatefulSet"}
    }
    for resource in rendered:
        spec = resource.get("spec") or {}
        selectors = [spec.get("selector") or {}, spec.get("podSelector") or {}]
        for selector in selectors:
            label = selector.get("matchLabels", selector if resource["kind"] == "Service" else {}).get("app")
            wanted = {label} if label else set()
            for expression in selector.get("matchExpressions", ()):
                wanted |= set(expression["values"])
            assert wanted <= apps, resource["metadata"]["name"]
    budgets = {one["metadata"]["name"] for one in rendered if one["kind"] == "PodDisruptionBudget"}
    assert budgets == set(OURS)


def test_only_the_courier_connects_to_addresses_outside(rendered: list[Resource]) -> None:
    open_to = [
        policy["metadata"]["name"]
        for policy in rendered
        if policy["kind"] == "NetworkPolicy"
        for rule in policy["spec"].get("egress", ())
        for to in rule["to"]
        if to.get("ipBlock", {}).get("cidr") == "0.0.0.0/0"
    ]
    assert open_to == ["courier-egress"]
    assert named(rendered, "NetworkPolicy", "courier-egress")["spec"]["podSelector"] == {
        "matchLabels": {"app": "courier"}
    }


def test_the_operator_of_prometheus_gets_the_same_alerts_and_the_same_dashboard(rendered: list[Resource]) -> None:
    folder = ROOT / "infra/deploy/monitoring"
    alerts = yaml.safe_load((folder / "alerts.yml").read_text(encoding="utf-8"))
    assert named(rendered, "PrometheusRule", "shitu")["spec"] == alerts
    dashboard = named(rendered, "ConfigMap", "shitu-dashboard")
    assert dashboard["data"] == {"dashboard.json": (folder / "dashboard.json").read_text(encoding="utf-8")}
    [endpoint] = named(rendered, "ServiceMonitor", "shitu")["spec"]["endpoints"]
    assert [one["replacement"] for one in endpoint["relabelings"] if one["targetLabel"] == "job"] == ["shitu"]


@pytest.mark.parametrize("text", ["resources: []\nnamePrefix: x", "resources: [nowhere.yaml]"])
def test_what_the_renderer_does_not_know_it_says(text: str, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text(text, encoding="utf-8")
    with pytest.raises((ValueError, OSError)):
        render(tmp_path)
