"""Photos packed for the machine with the GPU come out as they went in; what comes back is a run's checkpoint."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.errors import ArtifactError
from models.training.cuda.checkpoint import collect
from models.training.cuda.pack import pack
from models.training.cuda.packed import VALIDATION, Picture, decode, encode, read, write
from models.training.engine.checkpoint import Checkpoint, to_arrays
from models.training.errors import TrainingError
from models.training.networks.embedder import build_embedder
from models.training.recipes.embedder import EmbedderNetwork, EmbedderRecipe
from models.training.recipes.pictures import EvalSource, Stage, ViewSource

SMALL = EmbedderNetwork(kind="v2", width=0.25, depths=(1, 1, 1, 1), embedding_size=16)


def photo(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (shade, 90, 200 - shade)).save(path)


def shop(root: Path) -> EmbedderRecipe:
    """A recipe over two labels of two photos each, and one photo to choose by."""
    for name, shade in (("a0", 10), ("a1", 20), ("b0", 150), ("b1", 160), ("query", 15)):
        photo(root / "shop" / f"{name}.png", shade)
    (root / "shop" / "train.txt").write_text("a0.png\ta\na1.png\ta\nb0.png\tb\nb1.png\tb\n", encoding="utf-8")
    (root / "shop" / "val.txt").write_text("query.png\ta\n", encoding="utf-8")
    source = ViewSource(kind="list", name="shop", root="shop", file="train.txt")
    query = EvalSource(kind="lists", name="query", root="shop", file="val.txt", gallery_file="train.txt")
    stages = (Stage(steps=1, size_px=32, batch=4),)
    return EmbedderRecipe(name="shop", data=(source,), eval=(query,), stages=stages, network=SMALL)


def test_transparency_and_size_survive_the_packing(tmp_path: Path) -> None:
    rgba = np.zeros((60, 80, 4), np.uint8)
    rgba[..., 0], rgba[:, :40, 3] = 200, 255
    data = encode(rgba, 32, 90)
    assert Image.open(io.BytesIO(data)).size == (32, 32)
    planes = decode(data, 48)
    assert planes.shape == (4, 48, 48)
    assert planes[3, :, :20].min() > 240
    assert planes[3, :, 28:].max() < 15
    assert decode(encode(rgba[..., :3], 32, 90), 16)[3].min() == 255
    write(tmp_path / "photos-x.npz", [Picture(data, "s/a", "s", "training"), Picture(data, "s/b", "s", VALIDATION)])
    found = read([tmp_path / "photos-x.npz"], 16, 1)
    assert found.pixels.shape == (2, 4, 16, 16)
    assert (found.labels, found.parts) == (("s/a", "s/b"), ("training", VALIDATION))


def test_a_recipe_is_packed_with_its_plan_and_its_teachers(tmp_path: Path) -> None:
    recipe = shop(tmp_path)
    weights = {"neck.fc.weight": np.full((40, 40), 1 / 3, np.float32), "neck.fc.bias": np.full(40, 1 / 3, np.float32)}
    Checkpoint({"embedder": weights}, {"step": 1}).save(tmp_path / "best.npz")
    file = pack(recipe, tmp_path, {"lite0": tmp_path / "best.npz"}, tmp_path / "out", ["shop"])
    with np.load(file) as stored:
        table = json.loads(stored["names"].tobytes())
    assert table == [[f"shop/{label}", "shop", "training"] for label in "aabb"] + [["shop/a", "shop", VALIDATION]]
    plan = json.loads((tmp_path / "out" / "plan.json").read_text(encoding="utf-8"))
    assert (plan["teachers"], plan["sources"]["shop"]["sampling_weight"]) == (["lite0"], 1.0)
    with np.load(tmp_path / "out" / "lite0.npz") as kept:
        assert {name: kept[name].dtype for name in kept.files} == {
            "neck.fc.weight": np.float16,
            "neck.fc.bias": np.float32,
        }
    with pytest.raises(TrainingError, match="no source 'shelf'"):
        pack(recipe, tmp_path, {}, tmp_path / "out", ["shelf"])


def test_saved_parts_are_a_checkpoint_of_the_recipe(tmp_path: Path) -> None:
    recipe = shop(tmp_path)
    arrays = to_arrays(build_embedder(recipe.network).state_dict())
    names = sorted(arrays)

    def part(name: str, some: list[str], step: int) -> Path:
        progress = np.frombuffer(json.dumps({"step": step, "eval": {"query": 1.0}}).encode(), np.uint8)
        np.savez(tmp_path / name, allow_pickle=False, progress=progress, **{one: arrays[one] for one in some})
        return tmp_path / name

    first, second = part("student-0.npz", names[:9], 7), part("student-1.npz", names[9:], 7)
    best = collect(recipe, [first, second], tmp_path / "run")
    kept = Checkpoint.load(best)
    assert kept.progress == {"step": 7, "eval": {"query": 1.0}}
    assert all(np.array_equal(kept.groups["embedder"][name], arrays[name]) for name in names)
    with pytest.raises(ArtifactError, match="another network"):
        collect(recipe, [first], tmp_path / "half")
    with pytest.raises(TrainingError, match="another moment"):
        collect(recipe, [first, part("late.npz", names[9:], 8)], tmp_path / "mixed")
