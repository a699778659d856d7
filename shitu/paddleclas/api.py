"""`from shitu.paddleclas import PaddleClas`: their class, with its arguments and fields."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from infra.net.fetch import fetch
from models.artifacts.download import CLASSIFIERS
from models.classifier import Classifier, read_class_map
from models.errors import ImageError
from models.pictures.image import decode
from shitu.cli.searched import found_photos, read_bytes
from shitu.paddleclas.config import Config, ConfigError
from shitu.paddleclas.gallery import change
from shitu.paddleclas.networks import SHITU, official, require_as_model
from shitu.paddleclas.system import System, embedder_of, threads_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shitu.paddleclas.gallery import Built

URL_TIMEOUT_S, URL_MAX_BYTES = 30.0, 64 << 20
# Their keyword arguments, and the key of a configuration that each sets.
ARGUMENTS = {
    "use_gpu": "Global.use_gpu", "gpu_mem": "Global.gpu_mem", "use_fp16": "Global.use_fp16",
    "use_tensorrt": "Global.use_tensorrt", "enable_mkldnn": "Global.enable_mkldnn",
    "cpu_num_threads": "Global.cpu_num_threads", "batch_size": "Global.batch_size", "ir_optim": "Global.ir_optim",
    "topk": "PostProcess.Topk.topk", "class_id_map_file": "PostProcess.Topk.class_id_map_file",
    "save_dir": "PostProcess.SavePreLabel.save_dir",
}  # fmt: skip
# How a classifier prepares pictures, which must be as its model says, and what PULC models alone have.
PREPARATION = {"resize_short": "ResizeImage", "crop_size": "CropImage"}
PULC = ("threshold", "color_threshold", "type_threshold")
# What their deploy/configs/inference_general.yaml has where nothing else is said.
GENERAL: dict[str, Any] = {
    "Global": {"threshold": 0.2, "max_det_results": 5, "label_list": ["foreground"], "rec_nms_thresold": 0.05},
    "IndexProcess": {"index_method": "HNSW32", "dist_type": "IP", "delimiter": "\t", "score_thres": 0.5, "return_k": 5},
}


class PaddleClas:
    """PP-ShiTu or a classifier by its name, as `paddleclas.PaddleClas`: construct it, then call `predict`.

    `build_gallery` makes a gallery at once, from `gallery_data_file` and `gallery_image_root` into `index_dir`; what it did
    is `built`. `overrides` sets keys of their configurations. Without a `model_name` the detector and embedder that ship are used. Raises ModelError.
    """

    def __init__(
        self,
        build_gallery: bool = False,
        gallery_image_root: str | None = None,
        gallery_data_file: str | None = None,
        index_dir: str | None = None,
        model_name: str | None = None,
        inference_model_dir: str | None = None,
        *,
        overrides: Config | None = None,
        **arguments: Any,
    ) -> None:
        if refused := [name for name in PULC if arguments.pop(name, None) is not None]:
            raise ConfigError(f"{refused[0]}: not done here: for PULC models.")
        self._prepared = {name: value for name in PREPARATION if (value := arguments.pop(name, None)) is not None}
        if unknown := sorted(set(arguments) - set(ARGUMENTS)):
            raise ConfigError(f"{unknown[0]}: no such argument; there are {', '.join([*ARGUMENTS, *PREPARATION])}.")
        table = {group: dict(values) for group, values in GENERAL.items()}
        if overrides is not None:
            _merge(table, overrides.table)
        for name, value in arguments.items():
            _put(table, ARGUMENTS[name], value)
        for name, given in (
            ("image_root", gallery_image_root),
            ("data_file", gallery_data_file),
            ("index_dir", index_dir),
        ):
            if given is not None:
                table["IndexProcess"][name] = given
        self.model_name = model_name or ("shitu" if inference_model_dir is None else None)
        self.built: Built | None = None
        self._system: System | None = None
        self._classifier: Classifier | None = None
        self.config = Config(table)
        self.config.checked()
        if self.model_name in SHITU:
            detector, embedder = (str(official(name)) for name in SHITU[self.model_name])
            table["Global"] |= {"det_inference_model_dir": detector, "rec_inference_model_dir": embedder}
            if build_gallery:
                self.built = change(self.config, embedder_of(self.config))
        elif build_gallery:
            raise ConfigError(f"build_gallery: {model_name} is no PP-ShiTu; there are {', '.join(SHITU)}.")
        else:
            self._classifier = self._named(inference_model_dir)

    @property
    def is_shitu(self) -> bool:
        """Whether it recognises; else it classifies."""
        return self._classifier is None

    def predict(
        self, input_data: Any, print_pred: bool = False, predict_type: str | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """The answers of `input_data`, photo by photo for PP-ShiTu, batch by batch for a classifier.

        `input_data`: a file, a folder, a URL, or a picture (H, W, 3) RGB uint8; a classifier takes a list of them, too.
        PP-ShiTu's have `bbox`, `rec_docs`, `rec_scores`, a classifier's `class_ids`, `scores`, `label_names`, `filename`.
        `predict_type` is "shitu" or "cls", and may be left out. Raises ModelError; what can't be read is an ImageError.
        """
        kind = "shitu" if self.is_shitu else "cls"
        if predict_type not in (None, kind):
            raise ConfigError(f"predict_type: is {predict_type!r}; {self.model_name} is of {kind!r}.")
        if self._classifier is None:
            return self._recognized(input_data, print_pred)
        return self._classified(self._classifier, input_data, print_pred)

    def _recognized(self, input_data: Any, print_pred: bool) -> Iterator[list[dict[str, Any]]]:
        if isinstance(input_data, list):
            raise ConfigError("input_data: PP-ShiTu takes one file, folder, URL or picture at a time, no list.")
        if self._system is None:
            self._system = System(self.config)
        for _, image in pictures(input_data):
            found = self._system(image)
            if print_pred:
                print(found)
            yield found

    def _classified(self, classifier: Classifier, input_data: Any, print_pred: bool) -> Iterator[list[dict[str, Any]]]:
        top_k, batch = self.config.whole("PostProcess.Topk.topk", 5), self.config.whole("Global.batch_size", 1)
        photos = pictures(input_data)
        while some := list(islice(photos, batch)):
            found = classifier([image for _, image in some], top_k)
            answers = [one.to_dict(name) for (name, _), one in zip(some, found, strict=True)]
            if print_pred:
                for answer in answers:
                    print(as_line(answer))
            yield answers

    def _named(self, inference_model_dir: str | None) -> Classifier:
        """The classifier that was named. Raises ModelError."""
        file = self.config.get("PostProcess.Topk.class_id_map_file")
        class_map: Mapping[int, str] | None = None if file is None else read_class_map(Path(file))
        name = str(self.model_name)
        if inference_model_dir is not None:
            folder = Path(inference_model_dir)
        elif name in CLASSIFIERS:
            folder = official(name)
        else:
            close = difflib.get_close_matches(name, [*SHITU, *CLASSIFIERS], n=1)
            raise ConfigError(
                f"model_name: there is no {name!r}{f'; did you mean {close[0]}?' if close else ''} "
                f"There are {', '.join([*SHITU, *CLASSIFIERS])}. Others by inference_model_dir."
            )
        classifier = Classifier(folder, threads=threads_of(self.config), class_map=class_map)
        for key, value in self._prepared.items():
            require_as_model(classifier.manifest, PREPARATION[key], value, key)
        return classifier


def pictures(input_data: Any) -> Iterator[tuple[str, NDArray[np.uint8]]]:
    """Each picture of a file, folder, URL, array or list of them, with its name. Raises ImageError, ServiceError."""
    if isinstance(input_data, np.ndarray):
        yield "", input_data
    elif isinstance(input_data, Sequence) and not isinstance(input_data, str):
        for one in input_data:
            yield from pictures(one)
    elif str(input_data).startswith(("http://", "https://")):
        url = str(input_data)
        host = urlsplit(url).hostname or ""  # who names it here may mean a server of their own network
        yield (
            url,
            decode(fetch(url, timeout_s=URL_TIMEOUT_S, max_bytes=URL_MAX_BYTES, allowed=(host,)), colour_managed=False),
        )
    else:
        found = list(found_photos([Path(input_data)]))
        if not found:
            raise ImageError(f"{input_data}: there are no pictures in it", "image_not_found")
        for path in found:
            try:
                yield str(path), decode(read_bytes(path), colour_managed=False)
            except ImageError as error:
                raise ImageError(f"{path}: {error.detail}", error.code) from error


def as_line(answer: Mapping[str, Any]) -> str:
    """A classification as their command prints it."""
    return ", ".join(f"{name}: {answer[name]}" for name in ("class_ids", "scores", "label_names", "filename"))


def _put(table: dict[str, Any], path: str, value: Any) -> None:
    *groups, name = path.split(".")
    for group in groups:
        table = table.setdefault(group, {})
    table[name] = value


def _merge(table: dict[str, Any], over: Mapping[str, Any]) -> None:
    for name, value in over.items():
        if isinstance(value, Mapping) and isinstance(table.get(name), dict):
            _merge(table[name], value)
        else:
            table[name] = dict(value) if isinstance(value, Mapping) else value
