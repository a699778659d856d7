"""`python -m models.training.cuda pack|collect`: the steps before and after `distil`, which runs where the GPU is."""

import argparse
from pathlib import Path

from models.training.cuda.checkpoint import collect
from models.training.cuda.pack import QUALITY, SIDE_PX, pack
from models.training.recipes.embedder import EmbedderRecipe
from models.training.recipes.reading import load_recipe


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m models.training.cuda", description=__doc__)
    parser.add_argument("recipe")
    ways = parser.add_subparsers(dest="way", required=True)
    packs = ways.add_parser("pack", help="write photos, teachers and plan into a folder")
    packs.add_argument("folder", type=Path)
    packs.add_argument("--data", type=Path, required=True)
    packs.add_argument("--teacher", action="append", default=[], metavar="KIND=RUN/best.npz")
    packs.add_argument("--source", action="append", required=True, help="a source's name in the recipe")
    packs.add_argument("--side", type=int, default=SIDE_PX, help="pixels of a packed photo")
    packs.add_argument("--quality", type=int, default=QUALITY)
    packs.add_argument("--processes", type=int, default=1)
    collects = ways.add_parser("collect", help="put saved parts together as a run's best.npz")
    collects.add_argument("parts", type=Path, nargs="+")
    collects.add_argument("--run", type=Path, required=True)
    given = parser.parse_args()
    recipe = load_recipe(given.recipe, EmbedderRecipe)
    if given.way == "pack":
        teachers = {kind: Path(path) for kind, _, path in (one.partition("=") for one in given.teacher)}
        sizes = {"side_px": given.side, "quality": given.quality, "processes": given.processes}
        print(pack(recipe, given.data, teachers, given.folder, given.source, **sizes))
    else:
        print(collect(recipe, given.parts, given.run))


if __name__ == "__main__":
    main()
