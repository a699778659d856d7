"""`shitu demo`: the whole service at work. Renders products, enrols them over HTTP, has them recognised in photos, corrects one answer, and checks all."""

import secrets
import shutil
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count, islice
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from standardwebhooks import Webhook

from contracts.errors import ServiceError
from infra.runtime.settings import Settings
from infra.stack.launcher import Stack
from models.synth.designs import ProductDesign, design_product
from models.synth.products import packshot
from models.synth.scenes import Scene, render_scene
from shitu import Client, ClientError
from shitu.cli.demo_correction import Correction, corrected, report, succeeded
from shitu.cli.demo_report import Answer, machinery_faults, outcomes, picture, shortfall, show, summary
from shitu.cli.first_calls import BASE_URL, first_calls
from shitu.cli.options import examples, out
from shitu.cli.terminal import errors

GALLERY = "demo"
FIRST_SEED = 2_000_000  # products that no network was trained or evaluated on
PRODUCTS = 24
PRODUCTS_OF_A_BRAND = 12
PHOTOS = 4
PRODUCTS_OF_A_PHOTO = 3
SCENES_SEED = 0  # the first there is; not chosen by what the networks make of it
PHOTO_SIZE = (600, 800)
WAIT_S = 60.0
DATA = "demo-data"  # in the folder of the pictures


class DemoFailed(click.ClickException):
    """A step did not happen, or too few products are right."""


@click.command(epilog=examples("demo", "demo --out pictures"))
@out("Write the annotated pictures to this folder.", default=Path("var/demo"), show_default=True)
def demo(out: Path) -> None:
    """Show the whole service at work on rendered products. Exits 0 only if 11 of 12 are right and every step worked."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    started = time.monotonic()
    with errors():
        make_room(out)
    with Receiver() as receiver:
        settings = Settings(data_dir=out / DATA, redis_url=None)
        settings = replace(
            settings,
            web=replace(settings.web, port=0),
            webhooks=replace(settings.webhooks, secret=receiver.secret, allowed_hosts=("127.0.0.1",)),
        )
        console.print("[bold]1[/]  starting Redis, web, worker, courier and keeper on free loopback ports")
        try:
            with Stack(
                settings, say=_to_nowhere, progress=lambda line: console.print(f"   {line}", style="dim")
            ) as stack:
                answers = _walk(stack.base_url, receiver, console, out)
                correction = _correct(stack.base_url, console)
        except ClientError as error:
            raise DemoFailed(f"{error}; the logs are in {out / DATA / 'logs'}") from error
        except ServiceError as error:
            raise DemoFailed(f"{error.detail} ({error.code}); the logs are in {out / DATA / 'logs'}") from error
    show(answers)
    found = [outcome for answer in answers for outcome in outcomes(answer)]
    failures = shortfall(found, [*machinery_faults(answers, receiver.refused), *correction.faults])
    console.print(
        f"\n[bold {'red' if failures else 'green'}]{summary(found)}[/], in {len(answers)} photos; "
        f"{len(receiver.verified)} signed webhooks verified, {time.monotonic() - started:.0f} s in all."
    )
    console.print(f"Annotated pictures, what was missed in grey: {out}/photo-*.png")
    if failures:
        raise DemoFailed("; ".join(failures))
    console.print(NEXT, markup=False)


NEXT = "\n  ".join((f"\nNext: make up, then open {BASE_URL}/ or call it from another terminal:", *first_calls()))


def make_room(out: Path) -> None:
    """Removes what an earlier demo left in `out`, and nothing else: the folder may be any of the user's."""
    out.mkdir(parents=True, exist_ok=True)
    for earlier in out.glob("photo-[0-9]*.png"):
        earlier.unlink()
    shutil.rmtree(out / DATA, ignore_errors=True)


class Receiver:
    """A webhook receiver on loopback that verifies every signature, as a customer's would."""

    def __init__(self) -> None:
        self.secret = "whsec_" + b64encode(secrets.token_bytes(32)).decode()
        self.verified: dict[str, Mapping[str, Any]] = {}  # job id -> body
        self.refused: list[str] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                try:
                    message = Webhook(receiver.secret).verify(body, dict(self.headers.items()))
                except Exception as error:  # whatever it is, the message is not to be believed
                    receiver.refused.append(repr(error))
                    self.send_response(400)
                else:
                    receiver.verified[message["data"]["id"]] = message
                    self.send_response(204)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/hook"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait_for(self, job_id: str) -> Mapping[str, Any]:
        """The verified message about a job. Raises DemoFailed if none comes in time."""
        deadline = time.monotonic() + WAIT_S
        while job_id not in self.verified:
            if time.monotonic() > deadline:
                raise DemoFailed(f"no webhook about {job_id} came; refused: {self.refused}")
            time.sleep(0.02)
        return self.verified[job_id]


def _walk(base_url: str, receiver: Receiver, console: Console, out: Path) -> list[Answer]:
    products = _products()[:PRODUCTS]
    console.print(f"[bold]2[/]  enrolling {PRODUCTS} products in the gallery '{GALLERY}' through {base_url}")
    answers = []
    with Client(base_url, key="") as client:
        client.galleries.create(GALLERY)
        shots = [packshot(design, 256) for _, design in products]
        job = client.galleries.add(GALLERY, shots, [name for name, _ in products])
        enrolled = succeeded(client.enrollments.wait(job, timeout_s=WAIT_S))
        added = sum(item["status"] == "added" for item in enrolled["result"]["items"])
        if added != PRODUCTS:
            raise DemoFailed(f"{added} of {PRODUCTS} products were enrolled")
        console.print(
            f"[bold]3[/]  uploading {PHOTOS} photos, and waiting for answers, and for webhooks at {receiver.url}"
        )
        jobs = []
        for number, scene in enumerate(draw_scenes(products)):
            name = f"photo-{number}.png"
            jobs.append((scene, client.recognitions.create(scene.image, GALLERY, name=name, webhook_url=receiver.url)))
        for number, (scene, accepted) in enumerate(jobs):
            ended = succeeded(client.recognitions.wait(accepted, timeout_s=WAIT_S))
            answer = Answer(scene, ended, receiver.wait_for(ended["id"]))
            picture(answer).save(out / f"photo-{number}.png")
            answers.append(answer)
    return answers


def _correct(base_url: str, console: Console) -> Correction:
    """A product that is not in the gallery, with two that are."""
    *known, new = _products()
    console.print(f"[bold]4[/]  photographing a product that the gallery lacks, {new[0]}, and correcting the answer")
    with Client(base_url, key="") as client:
        correction = corrected(client, GALLERY, new, known[: PRODUCTS_OF_A_PHOTO - 1], PHOTO_SIZE)
    console.print(f"   before: {report(correction.before)}", markup=False)
    console.print(
        f"   after one box of that photo was enrolled, on another photo: {report(correction.after)}", markup=False
    )
    return correction


def _products() -> list[tuple[str, ProductDesign]]:
    """The PRODUCTS that are enrolled, and one more."""
    designs = islice(_legible_products(), PRODUCTS + 1)
    return [(f"{design.brand} {design.flavour} {design.kind}", design) for design in designs]


def draw_scenes(products: Sequence[tuple[str, ProductDesign]]) -> list[Scene]:
    """PHOTOS scenes of PRODUCTS_OF_A_PHOTO products each, the same at every call; a scene with no room for all is rendered again."""
    rng = np.random.default_rng(SCENES_SEED)
    scenes: list[Scene] = []
    while len(scenes) < PHOTOS:
        shown = [products[n] for n in rng.choice(len(products), PRODUCTS_OF_A_PHOTO, replace=False)]
        scene = render_scene(shown, PHOTO_SIZE, rng, count=len(shown), scale=(0.35, 0.6), clutter=0.4, occlusion=0.0)
        if len(scene.labels) == PRODUCTS_OF_A_PHOTO:
            scenes.append(scene)
    return scenes


def _legible_products() -> Iterator[ProductDesign]:
    """One product of each brand that is lettered in Latin, so that people can compare the pictures with the answers."""
    for seed in count(FIRST_SEED, PRODUCTS_OF_A_BRAND):
        design = design_product(seed)
        if design.lettering.script == "latin":
            yield design


def _to_nowhere(_name: str, _line: str) -> None:
    """The processes' own lines are in their log files."""
