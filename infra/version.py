"""The version: packaging, `shitu --version` and /openapi.json all read it here, for an image holds no package metadata."""

VERSION = "0.1.0"
