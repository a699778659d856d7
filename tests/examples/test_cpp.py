"""examples/cpp, built by CMake and run: its answers are those of Python, and what it can't read it names."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from models.artifacts.folders import resolve
from models.detector import Detector
from models.embedder import Embedder
from models.evaluation.pipeline import LabelledItem
from models.galleries.gallery import Gallery
from models.pictures.image import decode
from models.recognition.pipeline import RecognizeOptions, Recognizer
from models.synth.designs import design_product
from models.synth.products import packshot
from shitu.cli.main import main
from tests.docs_reader import ROOT

EXAMPLE = ROOT / "examples" / "cpp"
SEEDS = {"cola": 3, "绿 茶": 40, "milk": 77, "juice": 12, "water": 58}
BOX_PX, SIMILARITY = 2, 0.005  # what docs/cpp.md promises


def cmake_folder() -> Path | None:
    spec = importlib.util.find_spec("openvino")
    folder = None if spec is None or spec.origin is None else Path(spec.origin).parent / "cmake"
    return folder if folder is not None and (folder / "OpenVINOConfig.cmake").is_file() else None


LACKING = [
    *(name for name in ("cmake", "c++") if shutil.which(name) is None),
    *([] if cmake_folder() else ["OpenVINO's C++ headers"]),
]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(LACKING), reason=f"needs {', '.join(LACKING)}"),
]


@dataclass(frozen=True)
class Built:
    program: Path
    reads_jpeg: bool


@pytest.fixture(scope="module", params=["ON", "OFF"], ids=["faiss", "plain"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The program with Faiss, where its C++ library is installed, and without."""
    folder = tmp_path_factory.mktemp("cpp")
    configure = [
        "cmake",
        "-S",
        EXAMPLE,
        "-B",
        folder,
        f"-DOpenVINO_DIR={cmake_folder()}",
        f"-DWITH_FAISS={request.param}",
    ]
    for command in (configure, ["cmake", "--build", folder]):
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        if command is configure and request.param == "ON" and "Faiss: " not in done.stdout:
            pytest.skip("needs Faiss' C++ library, such as libfaiss-dev")
    cache = (folder / "CMakeCache.txt").read_text(encoding="utf-8")
    return Built(folder / "recognize", "JPEG_INCLUDE_DIR:PATH=JPEG_INCLUDE_DIR-NOTFOUND" not in cache)


@dataclass(frozen=True)
class Shop:
    """A gallery with its flat file, and photos of what is in it."""

    flat: Path
    photos: dict[str, Path]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    folder = tmp_path_factory.mktemp("shop")
    shots = {}
    for label, seed in SEEDS.items():
        (folder / "drinks" / label).mkdir(parents=True)
        shots[label] = Image.fromarray(packshot(design_product(seed), 240))
        shots[label].save(folder / "drinks" / label / f"{seed}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SHITU_DATA_DIR", str(folder / "var"))
        for line in (("add", folder / "drinks", "--gallery", "drinks"), ("export", "drinks", "--format", "flat", "--out", folder / "drinks.flat")):  # fmt: skip
            answer = CliRunner().invoke(main, ["gallery", *map(str, line)])
            assert answer.exit_code == 0, answer.output
    photos = {}
    noise = np.random.default_rng(5)
    for name, (size, places) in {
        "shelf": ((1003, 571), {"cola": (40, 150, 263), "绿 茶": (371, 101, 301), "milk": (730, 170, 249)}),
        "wide": ((2400, 900), {"juice": (300, 200, 640), "water": (1500, 150, 580)}),
        "small": ((150, 150), {"milk": (10, 8, 131)}),  # smaller than the networks' inputs
        "empty": ((320, 240), {}),
    }.items():
        ground = noise.normal((205, 200, 190), 6, (size[1], size[0], 3)).clip(0, 255).astype(np.uint8)
        photo = Image.fromarray(ground)
        for label, (x, y, side) in places.items():
            photo.paste(shots[label].resize((side, side)), (x, y))
        photo.save(folder / f"{name}.ppm")
        photo.save(folder / f"{name}.jpg", quality=90)
        photos[name] = folder / f"{name}.ppm"
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.open(folder / "shelf.ppm").rotate(90, expand=True).save(folder / "turned.jpg", quality=90, exif=turned)
    return Shop(folder / "drinks.flat", photos)


def run(built: Built, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([built.program, *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def answers(built: Built, shop: Shop, photo: Path, detector: bool = True) -> list[tuple[list[int], float, str]]:
    models = ["--detector", resolve("shitu-detector")] if detector else []
    done = run(built, *models, "--embedder", resolve("shitu-embedder"), "--gallery", shop.flat, photo)
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert all(row[0] == str(photo) for row in rows)
    return [([int(side) for side in box.split(",")], float(score), label) for _, box, score, label in rows]


def expected(shop: Shop, photo: Path, detector: bool = True) -> list[tuple[list[int], float, str]]:
    """By Python, from the gallery in its flat file."""
    from tests.shitu.cli.test_gallery_bundle import read_flat

    _, rows, labels = read_flat(shop.flat)
    items = [LabelledItem(str(number), label) for number, label in enumerate(labels)]
    if photo.suffix == ".ppm":
        image = np.asarray(Image.open(photo))
    else:
        image = decode(photo.read_bytes(), colour_managed=False)
    networks = (Detector(resolve("shitu-detector")) if detector else None, Embedder(resolve("shitu-embedder")))
    found = Recognizer(*networks)(image, Gallery(items, rows), RecognizeOptions(compat="paddleclas"))
    return [(list(one.box), one.similarity, one.label) for one in found.recognitions]


def alike(ours: list[tuple[list[int], float, str]], theirs: list[tuple[list[int], float, str]]) -> None:
    assert [one[2] for one in ours] == [one[2] for one in theirs], (ours, theirs)
    for (box, similarity, _), (box_there, similarity_there, _) in zip(ours, theirs, strict=True):
        assert np.abs(np.subtract(box, box_there)).max() <= BOX_PX
        assert abs(similarity - similarity_there) <= SIMILARITY


@pytest.mark.parametrize("name", ["shelf", "wide", "small", "empty"])
@pytest.mark.parametrize("ending", ["ppm", "jpg"])
def test_its_answers_are_those_of_python(name: str, ending: str, built: Built, shop: Shop) -> None:
    if ending == "jpg" and not built.reads_jpeg:
        pytest.skip("needs libjpeg")
    photo = shop.photos[name].with_suffix(f".{ending}")
    found = answers(built, shop, photo)
    alike(found, expected(shop, photo))
    assert {label for *_, label in found} == {"shelf": {"cola", "绿 茶", "milk"}, "wide": {"juice", "water"}, "small": {"milk"}, "empty": set()}[name]  # fmt: skip


def test_without_a_detector_the_photo_is_looked_up_whole(built: Built, shop: Shop) -> None:
    found = answers(built, shop, shop.photos["small"], detector=False)
    alike(found, expected(shop, shop.photos["small"], detector=False))
    assert [(box, label) for box, _, label in found] == [([0, 0, 150, 150], "milk")]


def test_a_photo_is_turned_upright(built: Built, shop: Shop) -> None:
    if not built.reads_jpeg:
        pytest.skip("needs libjpeg")
    photo = shop.flat.with_name("turned.jpg")
    found = answers(built, shop, photo)
    alike(found, expected(shop, photo))
    assert {label for *_, label in found} == {"cola", "绿 茶", "milk"}


def test_a_photo_that_cannot_be_read_is_named_and_the_others_are_answered(
    built: Built, shop: Shop, tmp_path: Path
) -> None:
    good = shop.photos["small"]
    whole = good.read_bytes()
    broken = {"cut.ppm": whole[:-1], "huge.ppm": b"P6 99999999 99999999 255\n", "deep.ppm": b"P6 1 1 65535\n" + b"0" * 6,
              "text.ppm": b"P6", "none.jpg": b"GIF89a"}  # fmt: skip
    if built.reads_jpeg:
        photo = good.with_suffix(".jpg").read_bytes()
        broken |= {"cut.jpg": photo[: len(photo) // 2], "start.jpg": photo[:9], "blank.jpg": b"\xff\xd8\xff\xd9"}
    for name, data in broken.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / "away.ppm", *(tmp_path / name for name in broken)]
    done = run(built, "--embedder", resolve("shitu-embedder"), "--gallery", shop.flat, *paths, good, code=1)
    assert [line.split(": ")[0] for line in done.stderr.splitlines()] == list(map(str, paths))
    assert [line.split("\t")[0] for line in done.stdout.splitlines()] == [str(good)]


def test_a_gallery_that_is_not_whole_or_of_another_embedder_is_refused(
    built: Built, shop: Shop, tmp_path: Path
) -> None:
    whole = shop.flat.read_bytes()
    head = b"shitu-flat 1\ndim 4\nitems 1\n\n"
    for data, reason in (
        (b"", "has no dim"),
        (b"PK\x03\x04 a bundle\n\n", "no flat export"),
        (whole[: len(whole) // 2], "ends within its embeddings"),
        (whole[:-3], "ends within its labels"),
        (whole + b"more\n", "more follows its labels"),
        (b"shitu-flat 1\ndim 4\nitems -1\n\n", "wrong items"),
        (b"shitu-flat 1\ndim 4\nitems 99999999999999999999\n\n", "wrong items"),
        (head + bytes(16) + b"cola\n", "4 dimensions, the embedder gives 512"),
        (whole.replace(Embedder(resolve("shitu-embedder")).digest.encode(), b"0" * 64), "is of another embedder, 0000"),
    ):
        (tmp_path / "g.flat").write_bytes(data)
        done = run(built, "--embedder", resolve("shitu-embedder"), "--gallery", tmp_path / "g.flat", shop.photos["small"], code=1)  # fmt: skip
        assert reason in done.stderr
        assert done.stdout == ""


def test_an_empty_gallery_answers_nothing_and_mistakes_of_the_command_are_named(
    built: Built, shop: Shop, tmp_path: Path
) -> None:
    (tmp_path / "g.flat").write_bytes(b"shitu-flat 1\ndim 0\nitems 0\n\n")
    usual = ("--embedder", resolve("shitu-embedder"), "--gallery", tmp_path / "g.flat")
    assert run(built, *usual, shop.photos["small"]).stdout == ""
    assert "there is no option --index" in run(built, *usual, "--index", "x", "photo", code=2).stderr
    assert "a photo are needed" in run(built, *usual, code=2).stderr
    assert "manifest.json" in run(built, "--embedder", tmp_path, *usual[2:], shop.photos["small"], code=1).stderr
