"""Their distillation configurations (`DistillationModel`): a student and a teacher, of embedders or of classifiers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shitu.cli.weights import model_folder
from shitu.paddleclas.training.classifier import classifier_recipe, network
from shitu.paddleclas.training.metric import metric_recipe

if TYPE_CHECKING:
    from shitu.paddleclas.training.source import Source

LABELS = {"DistillationGTCELoss"}
ALIKE = {"DistillationDMLLoss", "DistillationKLDivLoss"}
PAIRS = "the student and the other network are compared"


def models(source: Source) -> dict[str, str]:
    """The networks of `Arch.models` by name, and where they stand."""
    return dict(source.named("Arch.models"))


def embeds(source: Source) -> bool:
    """Whether they are RecModels."""
    return any(source.get(f"{at}.name") == "RecModel" for at in models(source).values())


def distilled_embedder(source: Source, name: str, folder: str, *, given: bool) -> dict[str, dict[str, Any]]:
    """Recipes by file name: `recipe` names the others by their paths in `folder`."""
    made, student, other = _method(source, name)
    for at in (student, other):
        source.get(f"{at}.name")
        source.note(f"{at}.infer_output_key", "the features are exported")
    files = {"student": metric_recipe(source, f"{name}-student", given=given, arch=student)}
    made["student"] = f"{folder}/student.toml"
    if made["method"] == "ssld":
        made["teacher"] = {"model": _teacher(source, other, "embed")}
        made["compare"] = "relations"
        source.note(other, "the frozen teacher's network is read from its weights")
        files["student"]["loss"].setdefault("ce", {"weight": 1.0})  # of its recipe; the method has its own
        source.notes.append(
            "the student learns from the similarities that its teacher sees within a batch, without labels"
        )
    else:
        files["peer"] = metric_recipe(source, f"{name}-peer", given=given, arch=other)
        made["peer"] = f"{folder}/peer.toml"
    return {"recipe": made} | files


def distilled_classifier(source: Source, name: str, *, given: bool) -> dict[str, Any]:
    """One recipe, with its table `distill`."""
    made, student, other = _method(source, name)
    del made["name"]
    if made["method"] == "ssld":
        made["teacher"] = {"model": _teacher(source, other, "classify")}
        source.note(other, "the frozen teacher's network is read from its weights")
    else:
        made["peer"] = network(source, other, given=given)
        source.note(f"{other}.class_num", "counted in the lists")
    return classifier_recipe(source, name, given=given, arch=student) | {"distill": made}


def _method(source: Source, name: str) -> tuple[dict[str, Any], str, str]:
    """What is learned from what, and where student and teacher stand."""
    found = models(source)
    wanted = source.text("Arch.infer_model_name", "Student")
    student = found.get(wanted, "")
    others = [at for one, at in found.items() if one != wanted]
    if not student or len(others) != 1:
        source.refuse("Arch.models", f"must be {wanted} and one other network, not {', '.join(found) or 'nothing'}")
    other = others[0] if others else ""
    source.note("Arch.class_num", "counted in the lists")
    frozen = source.get("Arch.freeze_params_list", [])
    place = list(found.values()).index(other) if other in found.values() else 0
    is_frozen = isinstance(frozen, list) and len(frozen) > place and frozen[place] is True
    made: dict[str, Any] = {"name": name, "method": "ssld" if is_frozen else "dml"}
    for loss, at in source.named("Loss.Train"):
        for key in ("model_names", "model_name_pairs", "act", "key", "mode", "name"):
            source.note(f"{at}.{key}", PAIRS)
        if loss in ALIKE or (loss == "DistillationCELoss" and is_frozen):
            made["weight"] = source.number(f"{at}.weight", 1.0)
        elif loss == "DistillationDistanceLoss":
            made |= {"method": "udml", "distance_weight": source.number(f"{at}.weight", 1.0)}
            if is_frozen:
                source.refuse(at, "a frozen teacher is compared by its answers, not its features")
        elif loss not in LABELS:
            source.refuse(at, "no such loss of distillation here")
        elif is_frozen:
            source.note(at, "from a frozen teacher the student learns without labels")
    return made, student or "Arch.models.0", other or "Arch.models.0"


def _teacher(source: Source, at: str, task: str) -> str:
    """The folder of a frozen teacher, exported at its first use where it is `.pdparams`."""
    weights = source.get("Arch.pretrained_list", [])
    place = list(models(source).values()).index(at) if at in models(source).values() else 0
    file = weights[place] if isinstance(weights, list) and len(weights) > place else source.get(f"{at}.pretrained")
    if not isinstance(file, str):
        source.refuse(
            f"{at}.pretrained", "a frozen teacher needs its weights: a .pdparams file, or a model's name or folder"
        )
        return "none"
    return str(model_folder(file, task).resolve())
