"""What Lambda does around a function: its runtime API, and the mapping of a queue of SQS to it."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from infra.stack.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

WITHIN_S = 90.0


class RuntimeApi(ThreadingHTTPServer):
    """The part of Lambda that hands out events and takes answers: `call(event)` gives what the function answered."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.events: queue.Queue[Any] = queue.Queue()
        self.answers: queue.Queue[tuple[str, Any]] = queue.Queue()

    def call(self, event: Any) -> tuple[str, Any]:
        self.events.put(event)
        return self.answers.get(timeout=WITHIN_S)


class _Handler(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        body = json.dumps(self.server.events.get()).encode()
        self.send_response(200)
        report = {"Lambda-Runtime-Aws-Request-Id": "r-1", "Lambda-Runtime-Deadline-Ms": "9999999999999"}
        for name, value in {**report, "Content-Type": "application/json", "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:shitu")
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.answers.put((self.path.rpartition("/")[2], json.loads(body or b"null")))

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def running(settings: Mapping[str, str], log: Path) -> Iterator[Instance]:
    """The function, run by Amazon's client of that API with `settings` in its environment; it writes to `log`."""
    server = RuntimeApi()
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("SHITU_", "REDIS_URL"))}
    environment = {
        **inherited, "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", **settings, "OMP_NUM_THREADS": "1",
        "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{server.server_port}", "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    command = [sys.executable, "-m", "awslambdaric", "worker.function_app.handle"]
    with log.open("wb") as said, subprocess.Popen(command, env=environment, cwd=ROOT, stderr=said) as process:
        try:
            yield Instance(server, process, log)
        finally:
            process.kill()
            server.shutdown()
            server.server_close()


class Instance:
    """A running function, and what calls it with the messages of a queue, one after another, while `attached`."""

    def __init__(self, api: RuntimeApi, process: subprocess.Popen[bytes], log: Path) -> None:
        self.api = api
        self.log = log
        self._process = process
        self.busy_with: str | None = None  # the body of the message of the present call
        self.failed: list[str] = []  # the bodies of messages that are to come again

    def freeze(self) -> None:
        """Stops it where it is."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Undoes `freeze`."""
        self._process.send_signal(signal.SIGCONT)

    def said(self) -> list[dict[str, Any]]:
        """The complete lines of its log."""
        return [json.loads(line) for line in self.log.read_text().split("\n")[:-1] if line.startswith("{")]

    def attempts(self, job_id: str) -> list[dict[str, Any]]:
        """The attempts at this job that it ended."""
        return [line for line in self.said() if line.get("message") == "attempt ended" and line["job_id"] == job_id]

    @contextlib.contextmanager
    def attached(self, sqs: Any, queue_url: str) -> Iterator[None]:
        """Within, messages of the queue call the function, as Lambda's event source mapping with ReportBatchItemFailures does."""
        end = threading.Event()
        caller = threading.Thread(target=self._call, args=(sqs, queue_url, end), daemon=True)
        caller.start()
        try:
            yield
        finally:
            end.set()
            caller.join(WITHIN_S)

    def _call(self, sqs: Any, queue_url: str, end: threading.Event) -> None:
        while not end.is_set():
            taken = sqs.receive_message(QueueUrl=queue_url, MaxNumberOfMessages=1).get("Messages", [])
            if not taken:
                end.wait(0.05)
                continue
            [message] = taken
            record = {"messageId": message["MessageId"], "eventSource": "aws:sqs", "body": message["Body"]}
            self.busy_with = message["Body"]
            kind, report = self.api.call({"Records": [record]})
            if kind == "response" and not report["batchItemFailures"]:
                sqs.delete_message(QueueUrl=queue_url, ReceiptHandle=message["ReceiptHandle"])
            else:
                self.failed.append(message["Body"])
            self.busy_with = None
