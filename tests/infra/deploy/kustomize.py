"""Renders the part of kustomize that infra/deploy uses; kustomize itself is no Python package and does not run here.

Known are resources, namespace, images, JSON patches with a target, and generated config maps of files with a fixed name.
Anything else in a kustomization raises ValueError, so that nothing is silently left out.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import yaml

KNOWN = {"apiVersion", "kind", "resources", "namespace", "images", "patches", "configMapGenerator"}
Resource = dict[str, Any]


def render(folder: Path) -> list[Resource]:
    """The resources that `kubectl apply -k FOLDER` would send. Raises ValueError, OSError."""
    report = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    if unknown := report.keys() - KNOWN:
        raise ValueError(f"{folder}: {sorted(unknown)} is not rendered here")
    found: list[Resource] = []
    for name in report["resources"]:
        path = (folder / name).resolve()
        if path.is_dir():
            found += render(path)
        else:
            found += [one for one in yaml.safe_load_all(path.read_text(encoding="utf-8")) if one]
    for made in report.get("configMapGenerator", ()):
        if made.keys() != {"name", "files", "options"} or made["options"].keys() != {"disableNameSuffixHash", "labels"}:
            raise ValueError(f"{folder}: {made}")
        data = {name: (folder / name).read_text(encoding="utf-8") for name in made["files"]}
        meta = {"name": made["name"], "labels": made["options"]["labels"]}
        found.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
    found = copy.deepcopy(found)  # YAML's anchors would be patched in two places
    for patch in report.get("patches", ()):
        targets = [one for one in found if _meant(one, patch["target"])]
        if not targets:
            raise ValueError(f"{folder}: no resource for {patch['target']}")
        for operation in yaml.safe_load(patch["patch"]):
            for one in targets:
                _apply(one, operation)
    for one in found:
        if "namespace" in report and one["kind"] != "Namespace":
            one["metadata"]["namespace"] = report["namespace"]
        for image in report.get("images", ()):
            for container in containers(one):
                if container["image"].partition(":")[0] == image["name"]:
                    container["image"] = f"{image['newName']}:{image['newTag']}"
    return found


def containers(resource: Resource) -> list[dict[str, Any]]:
    """The containers of a resource's pods, those of the start among them."""
    spec = (
        resource.get("spec", {}).get("template", {}).get("spec", {}) if isinstance(resource.get("spec"), dict) else {}
    )
    return [*spec.get("initContainers", []), *spec.get("containers", [])]


def _meant(resource: Resource, target: dict[str, str]) -> bool:
    if target.keys() != {"kind", "name"}:
        raise ValueError(f"a target is given by kind and name: {target}")
    return resource["kind"] == target["kind"] and bool(re.fullmatch(target["name"], resource["metadata"]["name"]))


def _apply(resource: Resource, operation: dict[str, Any]) -> None:
    """RFC 6902: add and replace. Raises ValueError where there is nothing to replace, nor a place to add to."""
    *path, last = operation["path"].lstrip("/").replace("~1", "/").split("/")
    place: Any = resource
    try:
        for step in path:
            place = place[int(step)] if isinstance(place, list) else place[step]
        if operation["op"] == "replace":
            place[int(last) if isinstance(place, list) else last]  # must be there
    except (KeyError, IndexError, TypeError) as error:
        raise ValueError(f"{resource['kind']} {resource['metadata']['name']}: no {operation['path']}") from error
    if operation["op"] not in {"add", "replace"}:
        raise ValueError(f"{operation['op']} is not rendered here")
    if isinstance(place, list) and last == "-":
        place.append(operation["value"])
    elif isinstance(place, list):
        place[int(last)] = operation["value"]
    else:
        place[last] = operation["value"]
