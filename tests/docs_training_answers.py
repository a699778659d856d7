"""What each command of docs/training.md leaves and says."""

import json
import re
from collections.abc import Callable
from pathlib import Path

from models.artifacts.folders import load_manifest, verify
from models.engines.openvino import computes_bf16
from tests import docs_stand_ins as stand_ins
from tests.docs_reader import ROOT

Check = Callable[[str], None]  # of what a command said on standard output


def trains(folder: str, *, pool: bool = True) -> Check:
    """The files of a run that the page lists, and the command that goes on from it."""

    def check(report: str) -> None:
        names = {"last.npz", "best.npz", "curve.jsonl", "curve.png", "metrics.json"} | ({"pool"} if pool else set())
        assert names <= {path.name for path in Path(folder).iterdir()}
        assert re.search(rf"^next: shitu export \w+ \S+ --run {folder}( |$)", report, re.MULTILINE)

    return check


def exports(folder: str, task: str, *eval_sets: str, precisions: str = "") -> Check:
    """An artifact as its manifest says, with the figures of these eval sets, which are printed too."""

    def check(report: str) -> None:
        figures = json.loads(report)
        assert figures["artifact"] == folder
        verify(folder)
        manifest = load_manifest(folder)
        assert manifest.task == task
        assert sorted({name.split()[0] for name in manifest.metrics}) == sorted(eval_sets)
        assert {name: figures[name] for name in manifest.metrics} == manifest.metrics
        assert sorted(manifest.precisions) == sorted(precisions.split())

    return check


def prints(*names: str, files: str = "") -> Check:
    """JSON with these names, and files."""

    def check(report: str) -> None:
        assert set(names) <= set(json.loads(report))
        for file in files.split():
            assert Path(file).stat().st_size > 0

    return check


def leaves(file: str) -> Check:
    """A file."""

    def check(report: str) -> None:
        assert Path(file).stat().st_size > 0

    return check


def says(*parts: str) -> Check:
    """These words on standard output."""

    def check(report: str) -> None:
        assert [part for part in parts if part not in report] == []

    return check


EVAL_KINDS = ("rendered", "drinks_held_out", "grocery_val")


def check_precisions(report: str) -> None:
    """A copy of the bundled embedder with one precision more, and what it loses in each eval set."""
    exports("models-int8", "embed", *EVAL_KINDS, "packshot_val", precisions="int8")(report)
    int8 = load_manifest("models-int8").precisions["int8"]
    assert int8["lost"].keys() == int8["metrics"].keys() == set(EVAL_KINDS)
    assert load_manifest("models-int8").digest == load_manifest(ROOT / "models/bundled/shitu-embedder").digest


def check_evaluation(report: str) -> None:
    """Embedder, detector and the whole, and what the page names baselines."""
    figures = json.loads(report)
    eval_sets = {*EVAL_KINDS, "packshot_val"}
    assert figures["open set"].keys() == eval_sets
    assert figures["embedder"].keys() == eval_sets | {f"{name} verified" for name in eval_sets - {"rendered"}}
    assert figures["pipeline"].keys() == {"found", "right"}
    for baseline in ("colour histograms", "untrained network", "pretrained features"):
        assert figures[baseline].keys() == eval_sets
    assert {"identification_rate", "false_positive_identification_rate"} <= figures["open set"]["rendered"].keys()


def check_classes(report: str) -> None:
    """PaddleClas' form, with the names of the class map."""
    answers = json.loads(report)
    assert len(answers) == len(list(Path("photos").glob("*.png")))
    for answer in answers:
        assert answer.keys() == {"class_ids", "scores", "label_names", "filename"}
        assert set(answer["label_names"]) <= set(stand_ins.LABELS)


def check_processes(report: str) -> None:
    """One curve, of all steps, by one writer."""
    curve = [json.loads(line) for line in Path("runs/together/curve.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["step"] for line in curve] == [2, 4]
    trains("runs/together")(Path("runs/ranks/workerlog.0").read_text(encoding="utf-8"))


PRECISIONS = "bf16 int8" if computes_bf16() else "int8"
OPEN_SET = ("identified@fpr0.01", "identified@fpr0.1", "calibration_error", "precision@0.9", "recall@1", "unknown")
RETRIEVAL = ("recall@1", "recall@5", "precision@1", "precision@5", "retrieval_mAP", "mINP")
CONFUSION = "eval/metrics.json eval/confusion.json eval/confusion.csv eval/confusion.png"
DETECTION = ("scenes", "raccoon_held_out", "shelves", "drinks_held_out")
# What each command leaves and says.
RUN: dict[str, Check] = {
    "shitu train embedder embedder-tiny": trains("runs/embedder-tiny"),
    "shitu export embedder embedder-tiny --run runs/embedder-tiny": exports(
        "runs/embedder-tiny/artifact", "embed", "rendered"
    ),
    "shitu data lint ../data/drinks/labels.tsv": says("6 labels", "0 errors"),
    "shitu data lint ../data/grocery/train.txt ../data/grocery/val.txt": says("6 labels", "0 errors"),
    "shitu data lint ../data/raccoon --json": prints("errors"),
    "shitu train embedder embedder-s --data ../data --threads 2": trains("runs/shitu-embedder-s"),
    "shitu train embedder embedder-lite0 --data ../data": trains("runs/shitu-embedder"),
    "shitu train detector detector-s --data ../data --threads 2": trains("runs/shitu-detector"),
    "python -m paddle.distributed.launch --backend gloo --nproc_per_node 3 --log_dir runs/ranks .venv/bin/shitu "
    "train embedder embedder-s --data ../data --threads 1": check_processes,
    "shitu export embedder embedder-s --data ../data": exports("runs/shitu-embedder-s/artifact", "embed", *EVAL_KINDS),
    "shitu export detector detector-s --data ../data": exports("runs/shitu-detector/artifact", "detect", *DETECTION),
    "shitu export embedder embedder-s --data ../data --formats paddle,onnx,bf16,int8 --calibrate shop": exports(
        "runs/shitu-embedder-s/artifact", "embed", *EVAL_KINDS, precisions=PRECISIONS
    ),
    "shitu export precisions shitu-embedder --out models-int8 --formats int8 --calibrate my-gallery "
    "--recipe embedder-s --data ../data": check_precisions,
    "shitu evaluate --data ../data --baselines": check_evaluation,
    "shitu evaluate --embedder runs/shitu-embedder-s/artifact --detector none": prints("embedder", "open set"),
    "shitu evaluate retrieval --query query.txt --gallery gallery.txt --root photos --top-k 1,5 --out eval": prints(
        *RETRIEVAL, files=f"{CONFUSION} eval/neighbours.png"
    ),
    "shitu evaluate retrieval --query all.txt --root photos --ids --k-reciprocal": prints(*RETRIEVAL),
    "shitu evaluate open-set --query query.txt --gallery gallery.txt --root photos --out eval": prints(
        *OPEN_SET, files="eval/metrics.json"
    ),
    "shitu evaluate open-set --query query.txt --gallery gallery.txt --unknown shop --root photos": prints(*OPEN_SET),
    "shitu evaluate pipeline --photos shelf/coco.json --images shelf/images --gallery products --out eval": prints(
        "found", "right", files=CONFUSION
    ),
    "shitu evaluate pipeline --photos queries.txt --images photos --gallery gallery.txt --root photos": prints(
        "found", "right", "unknowns"
    ),
    "shitu train detector shop-detector.toml --data . --init shitu-detector": trains("runs/shop-detector"),
    "shitu export detector shop-detector.toml --data .": exports("runs/shop-detector/artifact", "detect", "scenes"),
    "shitu detect shelf.jpg --model runs/shop-detector/artifact --out boxes": leaves("boxes/shelf.jpg"),
    "shitu train metric metric-tiny": trains("runs/metric-tiny"),
    "shitu export metric metric-tiny": exports("runs/metric-tiny/artifact", "embed", "rendered"),
    "shitu train metric ppshituv2-general --data ../sets --init PPLCNetV2_base_ssld_pretrained.pdparams": trains(
        "runs/ppshituv2-general", pool=False
    ),
    "shitu train distill distill-tiny": trains("runs/distill-tiny"),
    "shitu train distill distill-ssld": trains("runs/distill-ssld"),
    "shitu export metric metric-tiny --run runs/distill-tiny": exports("runs/distill-tiny/artifact", "embed", "rendered"),
    "shitu train classifier classifier-tiny": trains("runs/classifier-tiny", pool=False),
    "shitu export classifier classifier-tiny": exports("runs/classifier-tiny/artifact", "classify", "other"),
    "shitu classify photos/ --model runs/classifier-tiny/artifact --top-k 3": says("query-0-0.png"),
    "shitu classify photos/ --model PPLCNet_x1_0 --class-map imagenet1k_label_list.txt --json": check_classes,
    "shitu classify photos/ --model PPLCNet_x0_5_pretrained.pdparams --network PPLCNet_x0_5": says("query-0-0.png"),
    "shitu recognize shelf.jpg --gallery my-pictures --binary --rerank 20": says("shelf.jpg"),
    "shitu evaluate retrieval --query query.txt --gallery gallery.txt --root photos --binary --rerank 20": prints(
        *RETRIEVAL, "bits"
    ),
    "shitu train hash hash-tiny": trains("runs/hash-tiny"),
    "shitu export hash hash-tiny": exports("runs/hash-tiny/artifact", "hash", "rendered"),
    "shitu train hash hash-small --data ../data": trains("runs/shitu-hash"),
}  # fmt: skip
