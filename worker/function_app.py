"""Composes the function for a container Lambda: `python -m awslambdaric worker.function_app.handle`.

All is opened while the module is loaded: that time has a whole core and is not the first caller's alone.
"""

from __future__ import annotations

import logging

import boto3

from contracts.errors import CodedError
from infra.runtime.logs import configure_logging, fatal
from infra.runtime.machine import process_age_s
from infra.runtime.settings import load_settings
from infra.stack.installation import verify_or_exit
from worker.function import Function

try:
    settings = load_settings()
    configure_logging(settings.log)
    if settings.jobs.function_queue_url is not None:
        if settings.redis_url is None:
            raise fatal("REDIS_URL is not set: jobs of SHITU_JOBS__FUNCTION_QUEUE_URL are in the ledger there")
        verify_or_exit(settings)
    client = boto3.client("s3", endpoint_url=settings.objects.endpoint_url, region_name=settings.objects.region)
    handle = Function(settings, client).handle
except CodedError as error:
    raise fatal(error.detail) from None
logging.getLogger(__name__).info("opened", extra={"since_start_s": process_age_s()})
