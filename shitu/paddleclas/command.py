"""`shitu paddleclas`: the flags of their `paddleclas` command, and below it their deploy scripts by name."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from contracts.names import shown
from models.errors import ImageError
from shitu.cli.options import examples
from shitu.cli.suggestions import Group
from shitu.cli.tables import print_table
from shitu.cli.terminal import errors
from shitu.paddleclas.config import Config, read_config
from shitu.paddleclas.keys import KEYS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

QUIET: tuple[Any, ...] = (None, False, "", 0, {}, [])
CONFIG = click.option(
    "-c", "--config", type=click.Path(path_type=Path, dir_okay=False, exists=True), help="Their YAML configuration."
)
OVERRIDES = click.option(
    "-o", "--override", "overrides", multiple=True, metavar="GROUP.KEY=VALUE", help="Set a key of it."
)

VERBOSE = click.option(
    "-v", "--verbose", is_flag=True, expose_value=False, help="Accepted; the configuration is shown by `keys`."
)


@click.group(
    cls=Group,
    invoke_without_command=True,
    epilog=examples(
        "paddleclas --build_gallery=True -o IndexProcess.image_root=gallery -o IndexProcess.data_file=gallery/list.txt -o IndexProcess.index_dir=index",
        "paddleclas --model_name=PP-ShiTuV2 --infer_imgs=photos --index_dir=index",
        "paddleclas predict_system -c inference_general.yaml -o Global.infer_imgs=photos",
    ),
)
@click.option("--model_name", help="PP-ShiTuV2, PP-ShiTuV1, shitu (what ships), or a classifier such as PPLCNet_x1_0.")
@click.option("--predict_type", type=click.Choice(["shitu", "cls"]), help="What the model is; found out without it.")
@click.option("--infer_imgs", help="A file, a folder or a URL.")
@click.option("--index_dir", help="Where vector.index and id_map.pkl are.")
@click.option("--gallery_data_file", "--data_file", "data_file", help="The list of a gallery's pictures.")
@click.option("--gallery_image_root", help="The folder that the paths of the list begin at.")
@click.option("--build_gallery", type=bool, default=False, help="True: make a gallery.")
@click.option("--inference_model_dir", help="A classifier's folder.")
@click.option("--topk", type=int, help="Classes reported of each picture.")
@click.option("--class_id_map_file", help="The names of the classes.")
@click.option("--batch_size", type=int, help="Pictures classified at a time.")
@click.option("--cpu_num_threads", type=int, help="Threads, at most as many as there are cores.")
@click.option("--use_gpu", type=bool, help="Accepted; CPUs alone are used.")
@click.option("--gpu_mem", type=int, help="Accepted; without effect.")
@click.option("--use_fp16", type=bool, help="Accepted; without effect.")
@click.option("--use_tensorrt", type=bool, help="Accepted; without effect.")
@click.option("--enable_mkldnn", type=bool, help="Accepted; without effect.")
@click.option("--ir_optim", type=bool, help="Accepted; without effect.")
@click.option("--save_dir", help="Accepted; no copies of pictures are made.")
@click.option("--resize_short", type=int, help="Of a classifier: must be the model's own.")
@click.option("--crop_size", type=int, help="Of a classifier: must be the model's own.")
@click.option("--threshold", type=float, help="Of PULC models, which are not done here: refused.")
@click.option("--color_threshold", type=float, help="Of PULC models, which are not done here: refused.")
@click.option("--type_threshold", type=float, help="Of PULC models, which are not done here: refused.")
@OVERRIDES
@VERBOSE
@click.pass_context
def paddleclas(ctx: click.Context, /, overrides: Sequence[str], **flags: Any) -> None:
    """Run PP-ShiTu or a classifier by PaddleClas' own flags, or one of its deploy scripts by name."""
    if ctx.invoked_subcommand is not None:
        return
    from shitu.paddleclas.api import ARGUMENTS, PREPARATION, PULC, PaddleClas, as_line

    with errors():
        over = read_config(None, overrides)
        _notify(over)
        known = {*ARGUMENTS, *PREPARATION, *PULC}
        arguments = {name: value for name, value in flags.items() if name in known and value is not None}
        if arguments.get("use_gpu"):
            click.echo("Global.use_gpu: no effect here: CPUs alone are used", err=True)
        model = PaddleClas(
            build_gallery=flags["build_gallery"],
            gallery_image_root=flags["gallery_image_root"] or over.get("IndexProcess.image_root"),
            gallery_data_file=flags["data_file"] or over.get("IndexProcess.data_file"),
            index_dir=flags["index_dir"] or over.get("IndexProcess.index_dir"),
            model_name=flags["model_name"],
            inference_model_dir=flags["inference_model_dir"],
            overrides=over,
            **arguments,
        )
        for name in PREPARATION:
            if model.is_shitu and name in arguments:
                click.echo(f"{name}: no effect here: for classifiers", err=True)
        if model.built is not None:
            _report(model.built)
            return
        photos = flags["infer_imgs"] or over.get("Global.infer_imgs")
        if not photos:
            raise click.UsageError("--infer_imgs names the photos, or --build_gallery=True makes a gallery")
        for found in model.predict(photos, predict_type=flags["predict_type"]):
            if model.is_shitu:
                click.echo(found)
            else:
                for answer in found:
                    click.echo(as_line(answer))
    click.echo("Predict complete!", err=True)


@paddleclas.command(
    "predict_system", epilog=examples("paddleclas predict_system -c inference_general.yaml -o Global.infer_imgs=photos")
)
@CONFIG
@OVERRIDES
@VERBOSE
def predict_system(config: Path | None, overrides: Sequence[str]) -> None:
    """Recognise the photos of Global.infer_imgs, write annotated photos to Global.output_dir, and print the answers."""
    from shitu.paddleclas.system import System

    with errors():
        read = _read(config, overrides)
        system = System(read)
        out = Path(read.text("Global.output_dir", "output"))
        out.mkdir(parents=True, exist_ok=True)
        for path, image in _photos(read):
            found = system(image)
            click.echo(found)
            _draw(
                image,
                [{"box": one["bbox"], "label": one["rec_docs"], "confidence": one["rec_scores"]} for one in found],
                out / Path(path).name,
            )


@paddleclas.command(
    "predict_det", epilog=examples("paddleclas predict_det -c inference_det.yaml -o Global.infer_imgs=photos")
)
@CONFIG
@OVERRIDES
@VERBOSE
def predict_det(config: Path | None, overrides: Sequence[str]) -> None:
    """Detect the main objects in the photos of Global.infer_imgs, and print them."""
    from shitu.paddleclas.system import detections, detector_of

    with errors():
        read = _read(config, overrides)
        detector = detector_of(read)
        if detector is None:
            raise click.ClickException("Global.det_inference_model_dir is missing.")
        for _, image in _photos(read):
            click.echo(detections(read, detector, image))


@paddleclas.command(
    "predict_rec", epilog=examples("paddleclas predict_rec -c inference_rec.yaml -o Global.infer_imgs=photos")
)
@CONFIG
@OVERRIDES
@VERBOSE
def predict_rec(config: Path | None, overrides: Sequence[str]) -> None:
    """Print the embedding of each photo of Global.infer_imgs, whole; binary codes with RecPostProcess.Binarize."""
    from shitu.paddleclas.gallery import codes_of
    from shitu.paddleclas.system import embedder_of

    with errors():
        read = _read(config, overrides)
        embedder, binary = embedder_of(read), read.get("RecPostProcess.main_indicator") == "Binarize"
        for path, image in _photos(read):
            rows = embedder([image])
            feature = codes_of(read, rows)[0] if binary else rows[0]
            click.echo(f"{shown(path)}:\t{feature.tolist()}")


@paddleclas.command(
    "predict_cls", epilog=examples("paddleclas predict_cls -c inference_cls.yaml -o Global.infer_imgs=photos")
)
@CONFIG
@OVERRIDES
@VERBOSE
def predict_cls(config: Path | None, overrides: Sequence[str]) -> None:
    """Classify the photos of Global.infer_imgs, and print classes, scores and names of each."""
    from models.classifier import Classifier, read_class_map
    from shitu.paddleclas.networks import folder_of, require_input
    from shitu.paddleclas.system import threads_of

    with errors():
        read = _read(config, overrides)
        key, file = "Global.inference_model_dir", read.get("PostProcess.Topk.class_id_map_file")
        names = None if file is None else read_class_map(Path(str(file)))
        classifier = Classifier(folder_of(read.text(key), key), threads=threads_of(read), class_map=names)
        require_input(classifier.manifest, read.get("PreProcess.transform_ops"), "PreProcess.transform_ops")
        top_k = read.whole("PostProcess.Topk.topk", 5)
        for path, image in _photos(read):
            (found,) = classifier([image], top_k)
            scores = [f"{score:.2f}" for score in found.scores]
            click.echo(
                f"{shown(Path(path).name)}:\tclass id(s): {list(found.class_ids)}, score(s): [{', '.join(scores)}], "
                f"label_name(s): {list(found.label_names)}"
            )


@paddleclas.command(
    "build_gallery",
    epilog=examples("paddleclas build_gallery -c inference_general.yaml -o IndexProcess.index_operation=append"),
)
@CONFIG
@OVERRIDES
@VERBOSE
def build_gallery(config: Path | None, overrides: Sequence[str]) -> None:
    """Make or change the gallery in IndexProcess.index_dir: index_operation new, append or remove. Exit status 1 where a line could not be used."""
    from shitu.paddleclas.gallery import change
    from shitu.paddleclas.system import embedder_of

    with errors():
        read = _read(config, overrides)
        removes = str(read.get("IndexProcess.index_operation", "new")).lower() == "remove"
        built = change(read, None if removes else embedder_of(read))
    _report(built)


@paddleclas.command("keys", epilog=examples("paddleclas keys -c inference_general.yaml"))
@CONFIG
@OVERRIDES
@VERBOSE
def keys(config: Path | None, overrides: Sequence[str]) -> None:
    """Print what becomes of every key of a configuration, without one of all that there are: done, without effect, or refused."""
    with errors():
        if config is None and not overrides:
            _print_all_keys()
            return
        table = Table()
        for name in ("key", "value", "here", "why"):
            table.add_column(name, overflow="fold")
        for key in read_config(config, overrides).handled():
            table.add_row(key.path, Text(str(key.value)), key.state, key.why)
    print_table(table)


def _print_all_keys() -> None:
    table = Table()
    for name in ("key", "here", "why"):
        table.add_column(name, overflow="fold")
    for path, key in KEYS.items():
        table.add_row(path, key.state, key.why)
    print_table(table)


def _read(config: Path | None, overrides: Sequence[str]) -> Config:
    """The configuration, its keys checked; those without effect are named on standard error. Raises ConfigError."""
    if config is None:
        raise click.UsageError("-c names the configuration")
    read = read_config(config, overrides)
    _notify(read)
    return read


def _notify(config: Config) -> None:
    idle = [key for key in config.checked() if key.state == "no effect" and key.value not in QUIET]
    for key in idle:
        click.echo(f"{key.path}: no effect here: {key.why}", err=True)


def _photos(config: Config) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Each photo with its name; what can't be read is reported and skipped. Raises UsageError without any."""
    from shitu.cli.searched import found_photos
    from shitu.paddleclas.api import pictures

    named = config.get("Global.infer_imgs")
    if not named:
        raise click.UsageError("Global.infer_imgs names the photos")
    if str(named).startswith(("http://", "https://")):
        yield from pictures(named)
        return
    found = list(found_photos([Path(str(named))]))
    if not found:
        raise click.ClickException(f"there are no pictures in {shown(str(named))}")
    console = Console(stderr=True)
    for path in found:
        try:
            yield from pictures(path)
        except ImageError as error:
            console.print(f"{error.detail} ({error.code})", style="red", markup=False, soft_wrap=True)


def _report(built: Any) -> None:
    for line in built.refused:
        click.echo(shown(line), err=True)
    report = [
        f"{built.entries} entries",
        f"{built.added} added",
        f"{built.removed} removed",
        f"{built.present} were there",
    ]
    click.echo(", ".join(report))
    if built.refused:
        raise SystemExit(1)


def _draw(image: Any, recognitions: list[dict[str, Any]], target: Path) -> None:
    from shitu.cli.annotate import annotate

    annotate(image, recognitions).save(target.with_suffix(".png"))
