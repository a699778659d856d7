"""JSON schemas of the custom resources used here, written from the documentation of KEDA 2.16 and of the operator of Prometheus.

Only the fields that are used, so that a misspelt one fails. Their own definitions are in no package that this project
installs: what they accept beyond this is not known here.
"""

from __future__ import annotations

from typing import Any

NUMBER = {"type": "integer", "minimum": 0}
POLICY = {
    "type": "object",
    "required": ["type", "value", "periodSeconds"],
    "properties": {
        "type": {"enum": ["Pods", "Percent"]},
        "value": {"type": "integer", "minimum": 1},
        "periodSeconds": NUMBER,
    },
    "additionalProperties": False,
}
RULES = {
    "type": "object",
    "properties": {"stabilizationWindowSeconds": NUMBER, "policies": {"type": "array", "items": POLICY, "minItems": 1}},
    "additionalProperties": False,
}
STRINGS = {"type": "object", "additionalProperties": {"type": "string"}}  # metadata of a trigger: strings, always


def trigger(kind: str, required: list[str], optional: list[str]) -> dict[str, Any]:
    """One type of trigger with the metadata that it knows."""
    return {
        "type": "object",
        "required": ["type", "metadata"],
        "properties": {
            "type": {"const": kind},
            "metricType": {"enum": ["AverageValue", "Value"]},
            "metadata": {**STRINGS, "required": required, "propertyNames": {"enum": [*required, *optional]}},
            "authenticationRef": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
        "additionalProperties": False,
    }


TRIGGERS = [
    trigger("metrics-api", ["url", "valueLocation", "targetValue"], ["format", "activationTargetValue", "authMode"]),
    trigger("redis", ["address", "listName", "listLength"], ["activationListLength", "enableTLS", "databaseIndex"]),
]
SCALED_OBJECT: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "keda.sh/v1alpha1"},
        "kind": {"const": "ScaledObject"},
        "metadata": {"type": "object", "required": ["name"]},
        "spec": {
            "type": "object",
            "required": ["scaleTargetRef", "triggers"],
            "properties": {
                "scaleTargetRef": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                    "additionalProperties": False,
                },
                "minReplicaCount": NUMBER,
                "maxReplicaCount": NUMBER,
                "pollingInterval": NUMBER,
                "cooldownPeriod": NUMBER,
                "fallback": {
                    "type": "object",
                    "required": ["failureThreshold", "replicas"],
                    "properties": {"failureThreshold": NUMBER, "replicas": NUMBER},
                    "additionalProperties": False,
                },
                "advanced": {
                    "type": "object",
                    "properties": {
                        "horizontalPodAutoscalerConfig": {
                            "type": "object",
                            "properties": {
                                "behavior": {
                                    "type": "object",
                                    "properties": {"scaleUp": RULES, "scaleDown": RULES},
                                    "additionalProperties": False,
                                }
                            },
                            "additionalProperties": False,
                        }
                    },
                    "additionalProperties": False,
                },
                "triggers": {"type": "array", "minItems": 1, "items": {"oneOf": TRIGGERS}},
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
NAMED = {"type": "object", "required": ["name"]}
SERVICE_MONITOR: dict[str, Any] = {
    "type": "object",
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "ServiceMonitor"},
        "metadata": NAMED,
        "spec": {
            "type": "object",
            "required": ["selector", "endpoints"],
            "properties": {
                "selector": {"type": "object", "required": ["matchLabels"], "properties": {"matchLabels": STRINGS}},
                "endpoints": {
                    "type": "array",
                    "minItems": 1,
                    "items": {
                        "type": "object",
                        "properties": {
                            "port": {"type": "string"},
                            "path": {"type": "string"},
                            "interval": {"type": "string", "pattern": r"^\d+[smh]$"},
                            "relabelings": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "properties": {
                                        "targetLabel": {"type": "string"},
                                        "replacement": {"type": "string"},
                                        "action": {"enum": ["replace", "keep", "drop"]},
                                    },
                                    "additionalProperties": False,
                                },
                            },
                        },
                        "additionalProperties": False,
                    },
                },
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
RULE = {
    "type": "object",
    "required": ["alert", "expr"],
    "properties": {
        "alert": {"type": "string"},
        "expr": {"type": "string"},
        "for": {"type": "string", "pattern": r"^\d+[smh]$"},
        "labels": STRINGS,
        "annotations": STRINGS,
    },
    "additionalProperties": False,
}
PROMETHEUS_RULE: dict[str, Any] = {
    "type": "object",
    "properties": {
        "apiVersion": {"const": "monitoring.coreos.com/v1"},
        "kind": {"const": "PrometheusRule"},
        "metadata": NAMED,
        "spec": {
            "type": "object",
            "required": ["groups"],
            "properties": {
                "groups": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name", "rules"],
                        "properties": {"name": {"type": "string"}, "rules": {"type": "array", "items": RULE}},
                        "additionalProperties": False,
                    },
                }
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
CUSTOM = {"ScaledObject": SCALED_OBJECT, "ServiceMonitor": SERVICE_MONITOR, "PrometheusRule": PROMETHEUS_RULE}
