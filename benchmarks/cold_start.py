"""What a cold start of the function (`worker.function_app`) consists of: `python -m benchmarks.cold_start [--runs N]`.

Each run is a fresh process that opens step by step what the function opens, and then takes two photos. Times are processor
seconds of that process, which a busy machine changes little, with one thread for math, as a Lambda of one core has. `kept`:
with the networks that an earlier process of this processor compiled. Redis and S3 are servers on this machine.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import boto3
from click.testing import CliRunner

from infra.redis.server import RedisServer
from infra.stack.commands import ROOT
from shitu.cli.main import main as shitu
from tests.e2e.service import encode, pattern
from tests.infra.s3_server import CREDENTIALS, new_bucket, s3_server

STEPS = """
import json, sys, time
laps, last = {}, time.process_time()
def lap(name):
    global last
    now = time.process_time()
    laps[name] = now - last
    last = now
laps["python"] = last
import worker.function
lap("imports")
import worker.function_jobs
lap("imports of the ledger")
from infra.runtime.settings import load_settings
settings = load_settings()
lap("settings")
import boto3
client = boto3.client("s3", endpoint_url=settings.objects.endpoint_url, region_name=settings.objects.region)
lap("boto3")
function = worker.function.Function(settings, client)
lap("networks and stores")
from infra.stack.installation import verify
verify(settings)
lap("ledger")
record = {"eventSource": "aws:sqs", "messageId": "1"}
for name in ("first photo", "second photo"):
    body = json.dumps({"bucket": sys.argv[1], "key": name, "gallery": "drinks"})
    assert function.handle({"Records": [{**record, "body": body}]}) == {"batchItemFailures": []}
    lap(name)
json.dump(laps, sys.stdout)
"""


def measured(runs: int) -> dict[str, dict[str, float]]:
    """Median processor seconds of each step, of processes without and with compiled networks."""
    with ExitStack() as held:
        folder = Path(held.enter_context(tempfile.TemporaryDirectory()))
        redis = held.enter_context(RedisServer(folder / "redis"))
        endpoint = held.enter_context(s3_server())
        bucket = new_bucket(endpoint)
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SHITU_", "REDIS_URL"))},
            **CREDENTIALS,
            "REDIS_URL": redis.url,
            "SHITU_DATA_DIR": str(folder / "data"),
            "SHITU_OBJECTS__URL": f"s3://{bucket}",
            "SHITU_OBJECTS__ENDPOINT_URL": endpoint,
            "SHITU_OBJECTS__REGION": "us-east-1",
            "SHITU_JOBS__FUNCTION_QUEUE_URL": f"{endpoint}/1/jobs",
            "OMP_NUM_THREADS": "1",
        }
        os.environ.update(CREDENTIALS)
        for number in (1, 2):
            (folder / f"pictures/{number}").mkdir(parents=True)
            (folder / f"pictures/{number}/1.jpg").write_bytes(encode(pattern(number)))
        added = CliRunner(env=env).invoke(shitu, ["gallery", "add", str(folder / "pictures"), "--gallery", "drinks"])
        if added.exit_code:
            raise RuntimeError(added.output)
        client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
        for number, name in enumerate(("first photo", "second photo"), 1):
            client.put_object(Bucket=bucket, Key=name, Body=encode(pattern(number, 640)))
        return {
            "cold": _medians([_run(env, folder / f"cache-{number}", bucket) for number in range(runs)]),
            "kept": _medians([_run(env, folder / "cache-0", bucket) for _ in range(runs)]),
        }


def _run(env: dict[str, str], cache: Path, bucket: str) -> dict[str, float]:
    command = [sys.executable, "-c", STEPS, bucket]
    env = {**env, "XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    laps: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return laps


def _medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {step: round(statistics.median(run[step] for run in runs), 3) for step in runs[0]}


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    found = measured(parser.parse_args().runs)
    print(f"{'step':24}" + "".join(f"{name:>8}" for name in found))
    for step in found["cold"]:
        print(f"{step:24}" + "".join(f"{laps[step]:8.2f}" for laps in found.values()))
    opened = [sum(took for step, took in laps.items() if "photo" not in step) for laps in found.values()]
    print(f"{'until the first event':24}" + "".join(f"{total:8.2f}" for total in opened))


if __name__ == "__main__":
    main()
