"""PaddleClas' commands, scripts and class, run as their users run them, on galleries read back by their own procedure."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from models.errors import GalleryError
from models.recognition.paddleclas import read_gallery
from models.recognition.paddleclas_index import build, read_index, recover, write
from shitu.cli.main import main
from shitu.paddleclas import PaddleClas
from shitu.paddleclas.config import Config, ConfigError, read_config
from shitu.paddleclas.keys import KEYS
from tests.models.programs import official_archive
from tests.shitu.paddleclas.conftest import GENERAL, SEEDS

BOX = [0, 0, 96, 96]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["paddleclas", *arguments])


def script(name: str, *overrides: str, code: int = 0) -> Result:
    result = run(name, "-c", "general.yaml", *(part for one in overrides for part in ("-o", one)))
    assert result.exit_code == code, result.output
    return result


def answers(result: Result) -> list[list[dict[str, Any]]]:
    return [ast.literal_eval(line) for line in result.stdout.splitlines() if line.startswith("[")]


def their_answer(index_dir: Path, query: NDArray[np.float32]) -> tuple[str, float]:
    """As PaddleClas reads its files and takes the nearest: faiss, an unpickled dict, the second word of the line."""
    index = faiss.read_index(str(index_dir / "vector.index"))
    id_map = pickle.loads((index_dir / "id_map.pkl").read_bytes())
    assert index.ntotal == len(id_map)
    scores, ids = index.search(query, 5)
    return id_map[int(ids[0][0])].split()[1], float(scores[0][0])


@pytest.mark.parametrize("method", ["Flat", "IVF", "HNSW32"])
def test_a_gallery_that_is_built_is_theirs_and_answers(folder: Path, method: str) -> None:
    script("build_gallery", f"IndexProcess.index_method={method}")
    found = answers(script("predict_system"))
    assert sorted(one[0]["rec_docs"] for one in found) == sorted(SEEDS)
    assert [(one[0]["bbox"], one[0]["rec_scores"] > 0.7) for one in found] == [(BOX, True)] * 3
    items, rows = read_gallery(folder / "index")
    for item, row in zip(items, rows, strict=True):
        label, score = their_answer(folder / "index", row[None])
        assert label == item.label.split()[0]
        assert score == pytest.approx(1, abs=1e-4)
    assert sorted(path.name for path in (folder / "output").iterdir()) == ["3.png", "40.png", "77.png"]


def test_append_and_remove_change_every_kind_and_repeating_changes_nothing(folder: Path) -> None:
    whole = (folder / "gallery" / "list.txt").read_text(encoding="utf-8")
    first, rest = whole.splitlines()[0], whole.splitlines()[1:]
    for method, distance in (
        ("HNSW32", "IP"),
        ("IVF", "IP"),
        ("Flat", "L2"),
        ("Flat", "hamming"),
        ("HNSW32", "hamming"),
    ):
        kind = (f"IndexProcess.index_method={method}", f"IndexProcess.dist_type={distance}")
        (folder / "some.txt").write_text(first, encoding="utf-8")
        script("build_gallery", *kind, "IndexProcess.data_file=some.txt")
        (folder / "some.txt").write_text("\n".join(rest), encoding="utf-8")
        append = (*kind, "IndexProcess.index_operation=append", "IndexProcess.data_file=some.txt")
        assert "3 entries, 2 added, 0 removed, 0 were there" in script("build_gallery", *append).stdout
        assert "3 entries, 0 added, 0 removed, 2 were there" in script("build_gallery", *append).stdout
        remove = (*kind, "IndexProcess.index_operation=remove", "IndexProcess.data_file=some.txt")
        assert "1 entries, 0 added, 2 removed, 0 were there" in script("build_gallery", *remove).stdout
        found = answers(
            script("predict_system", *kind, "Global.infer_imgs=photos/3.jpg", "IndexProcess.score_thres=0.7")
        )
        assert [one["rec_docs"] for one in found[0]] == ["cola"], (method, distance)


def test_binary_codes_answer_by_the_bits_that_differ() -> None:
    script("build_gallery", "IndexProcess.dist_type=hamming", "IndexProcess.index_method=Flat")
    binary = (
        "IndexProcess.dist_type=hamming",
        "RecPostProcess.main_indicator=Binarize",
        "RecPostProcess.Binarize.method=sign",
    )
    found = answers(script("predict_system", *binary, "IndexProcess.hamming_radius=100"))
    assert sorted(one[0]["rec_docs"] for one in found) == sorted(SEEDS)
    assert all(0 <= one[0]["rec_scores"] <= 100 for one in found)
    assert answers(script("predict_system", *binary, "IndexProcess.hamming_radius=-1")) == [[], [], []]


def test_bad_lines_are_reported_and_the_others_count(folder: Path) -> None:
    (folder / "list.txt").write_bytes("\ufeff3.png\tcola\r\nlost.png\tmilk\nnolabel\n".encode())
    result = script("build_gallery", "IndexProcess.data_file=list.txt", code=1)
    assert "1 entries, 1 added" in result.stdout
    assert "lost.png: No such file" in result.stderr
    assert "line 3: is not a path and a label" in result.stderr


def test_a_gallery_of_any_delimiter_answers_with_its_labels(folder: Path) -> None:
    listed = folder / "list.txt"
    for delimiter in (",", ";", "|", " ", "::"):
        lines = [f"{seed}.png{delimiter}{label}" for label, seed in SEEDS.items()]
        listed.write_bytes(("\ufeff" + "\r\n".join(lines) + "\r\n").encode())
        parted = (f"IndexProcess.delimiter={delimiter}",)
        script("build_gallery", *parted, "IndexProcess.data_file=list.txt")
        found = answers(script("predict_system", *parted))
        assert [one[0]["rec_docs"] for one in found] == ["cola", "绿 茶", "milk"], delimiter
        if delimiter != "::":  # the index alone shows the others
            found = answers(script("predict_system"))
            assert [one[0]["rec_docs"] for one in found] == ["cola", "绿 茶", "milk"], delimiter


def test_an_interrupted_change_leaves_the_old_gallery_or_the_new_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.eye(4, 8, dtype=np.float32)
    old, new = {0: "a.png\ta"}, {0: "b.png\tb", 1: "c.png\tc"}
    for dies_at, expected in ((0, old), (1, new), (2, new)):
        target = folder / f"index{dies_at}"
        write(target, build(rows[:1], [0], "Flat", "IP"), old)
        renames = iter(range(10))
        replace = Path.replace

        def dying(
            self: Path, to: Path, *, renames: Any = renames, dies_at: int = dies_at, replace: Any = replace
        ) -> Path:
            if next(renames) == dies_at:
                raise KeyboardInterrupt
            return replace(self, to)  # type: ignore[no-any-return]

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", dying)
            if dies_at < 2:
                with pytest.raises(KeyboardInterrupt):
                    write(target, build(rows[:2], [0, 1], "Flat", "IP"), new)
            else:
                write(target, build(rows[:2], [0, 1], "Flat", "IP"), new)
        recover(target)
        assert [item.line for item in read_gallery(target)[0]] == list(expected.values())
        assert sorted(path.name for path in target.iterdir()) == ["id_map.pkl", "vector.index"]


def test_l2_over_other_vectors_is_refused() -> None:
    with pytest.raises(GalleryError, match="not of unit length"):
        read_index(build(np.full((3, 8), 2, np.float32), [0, 1, 2], "Flat", "L2"))


def test_the_command_builds_and_recognises_with_their_flags() -> None:
    paths = ["-o", "IndexProcess.image_root=gallery", "-o", "IndexProcess.index_dir=index"]
    built = run("--build_gallery=True", "--model_name=shitu", "--data_file=gallery/list.txt", *paths)
    assert built.exit_code == 0, built.output
    found = run(
        "--model_name=shitu", "--predict_type=shitu", "--infer_imgs=photos", "--index_dir=index", "--use_gpu=True"
    )
    assert found.exit_code == 0, found.output
    assert "use_gpu: no effect here" in found.stderr
    assert [one[0]["rec_docs"] for one in answers(found)] == ["cola", "绿 茶", "milk"]


def test_every_flag_of_theirs_is_taken_or_named(folder: Path) -> None:
    built = run(
        "--build_gallery=True", "--model_name=shitu", "--gallery_image_root=gallery", "--index_dir=index",
        "--gallery_data_file=gallery/list.txt", "-v",
    )  # fmt: skip
    assert built.exit_code == 0, built.output
    recognised = ("--model_name=shitu", "--infer_imgs=photos", "--index_dir=index")
    found = run(*recognised, "--resize_short=256", "--crop_size=224")
    assert found.exit_code == 0, found.output
    assert "resize_short: no effect here" in found.stderr
    assert "crop_size: no effect here" in found.stderr
    for flag in ("threshold", "color_threshold", "type_threshold"):
        refused = run(*recognised, f"--{flag}=0.5")
        assert refused.exit_code == 1
        assert f"{flag}: not done here: for PULC models" in refused.stderr
    assert (
        script("predict_rec", "Global.infer_imgs=photos/3.jpg").stdout
        == run("predict_rec", "-v", "-c", "general.yaml", "-o", "Global.infer_imgs=photos/3.jpg").stdout
    )
    model = official_archive(folder / "PPLCNet_x1_0_infer", "classify")
    classified = ("--infer_imgs=photos", f"--inference_model_dir={model}", "--topk=2")
    same = run(*classified, "--resize_short=37", "--crop_size=32")  # as the model's own input is
    assert same.exit_code == 0, same.output
    assert same.stdout == run(*classified).stdout
    for flag in ("resize_short", "crop_size"):
        refused = run(*classified, f"--{flag}=320")
        assert refused.exit_code == 1
        assert f"{flag}: not done here" in refused.stderr
    assert "did you mean PPLCNet_x1_0?" in run("--model_name=PPLCNet_x1_00", "--infer_imgs=photos").stderr


def test_their_class_is_a_generator_with_their_fields(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = PaddleClas(
        build_gallery=True, gallery_image_root="gallery", gallery_data_file="gallery/list.txt", index_dir="index"
    )
    assert made.built is not None
    assert made.built.entries == 3
    model = PaddleClas(model_name="shitu", index_dir="index", use_gpu=False)
    answer = model.predict(input_data="photos/77.jpg", print_pred=True)
    (found,) = next(answer)
    assert (found["rec_docs"], sorted(found)) == ("milk", ["bbox", "rec_docs", "rec_scores"])
    assert next(answer, None) is None
    assert "milk" in capsys.readouterr().out
    array = np.asarray(Image.open(folder / "photos" / "3.jpg"))
    assert next(model.predict(array))[0]["rec_docs"] == "cola"
    with pytest.raises(ConfigError, match="no list"):
        next(model.predict(["photos/3.jpg"]))
    with pytest.raises(ConfigError, match="there is no 'VGG99'"):
        PaddleClas(model_name="VGG99")
    with pytest.raises(ConfigError, match="use_cpu: no such argument"):
        PaddleClas(use_cpu=True)


def test_detection_and_features_have_their_form() -> None:
    found = answers(script("predict_det", "Global.det_inference_model_dir=shitu-detector", "Global.max_det_results=1"))
    assert len(found) == 3
    assert all(sorted(one) == ["bbox", "class_id", "label_name", "score"] for boxes in found for one in boxes)
    lines = script("predict_rec", "Global.infer_imgs=photos/3.jpg").stdout.splitlines()
    name, _, feature = lines[0].partition(":\t")
    assert name == "photos/3.jpg"
    assert np.linalg.norm(ast.literal_eval(feature)) == pytest.approx(1, abs=1e-5)


def test_every_key_of_their_files_is_done_or_named() -> None:
    table = script("keys").stdout
    for group, values in GENERAL.items():
        for key in values or {}:
            assert f"{group}.{key}" in table
    everything = run("keys").stdout
    assert all(path in everything for path in KEYS)
    report = script("build_gallery").stderr
    assert "Global.gpu_mem: no effect here" in report
    assert {key.state for key in KEYS.values()} == {"done", "no effect", "refused"}


@pytest.mark.parametrize(
    ("override", "report"),
    [
        (
            "Global.rec_nms_threshold=0.1",
            "Global.rec_nms_threshold: no such key; did you mean Global.rec_nms_thresold?",
        ),
        ("Global.android_demo=True", "Global.android_demo: not done here"),
        ("Global.threshold=high", "Global.threshold"),
        ("IndexProcess.index_method=LSH", "IndexProcess.index_method: must be one of Flat, IVF, HNSW32"),
        ("IndexProcess.dist_type=cosine", "IndexProcess.dist_type: must be one of IP, L2, hamming"),
        ("IndexProcess.index_operation=replace", "IndexProcess.index_operation: must be one of"),
        ("IndexProcess.embedding_size=128", "IndexProcess.embedding_size: is 128"),
        ("Global.rec_inference_model_dir=./models/general_PPLCNetV2_base_pretrained_v1.0_infer", "shitu models pull"),
        ("Global.cpu_num_threads=0", "Global.cpu_num_threads: must be a whole number"),
        ("Global", "must be Group.key=value"),
    ],
)
def test_what_can_not_be_done_is_said_by_their_key(
    override: str, report: str, monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    name = "predict_system" if "threshold=high" in override else "build_gallery"
    assert report in script(name, override, code=1).stderr


@pytest.mark.parametrize(
    ("name", "override", "report"),
    [
        ("predict_system", "RecPostProcess.main_indicator=Topk", "not done here: 'Topk', where null or Binarize is"),
        (
            "predict_system",
            "RecPostProcess.main_indicator=Binarize",
            "goes with IndexProcess.dist_type hamming, not IP",
        ),
        ("build_gallery", "RecPostProcess.main_indicator=Binarize", "goes with IndexProcess.dist_type hamming, not IP"),
        ("predict_system", "IndexProcess.hamming_radius=far", "IndexProcess.hamming_radius: must be a number"),
        ("predict_system", "IndexProcess.embedding_size=256", "IndexProcess.embedding_size: is 256"),
        ("predict_det", "Global.label_list=3", "Global.label_list: must be a list of names, not 3"),
    ],
)
def test_no_key_that_counts_is_ignored(name: str, override: str, report: str) -> None:
    script("build_gallery")
    detector = ("Global.det_inference_model_dir=shitu-detector",) if name == "predict_det" else ()
    assert report in script(name, override, *detector, code=1).stderr


def test_an_index_of_vectors_of_another_length_is_refused(folder: Path) -> None:
    for distance, rows in (("IP", np.eye(3, 8, dtype=np.float32)), ("hamming", np.eye(3, 8, dtype=np.uint8))):
        index = build(rows, [0, 1, 2], "Flat", distance)  # type: ignore[arg-type]
        write(folder / "index", index, {number: f"{number}.png\tcola" for number in range(3)})
        refused = script("predict_system", f"IndexProcess.dist_type={distance}", code=1)
        assert "its vectors have" in refused.stderr


def test_literals_and_lists_are_read_as_theirs(folder: Path) -> None:
    (folder / "c.yaml").write_text("Global: {threshold: '0.25', label_list: [a, b]}\n", encoding="utf-8")
    config = read_config(folder / "c.yaml", ["Global.label_list.1=c", "IndexProcess.score_thres=0.4"])
    assert config.table == {
        "Global": {"threshold": 0.25, "label_list": ["a", "c"]},
        "IndexProcess": {"score_thres": 0.4},
    }
    with pytest.raises(ConfigError, match="no place in a list of 2"):
        read_config(folder / "c.yaml", ["Global.label_list.7=c"])
    assert Config({}).get("Global.threshold", 0.2) == 0.2
