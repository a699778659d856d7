"""Writes into the manifests of artifacts made before there were `credits` what they were made with: their digests stay.

python -m benchmarks.write_credits models/bundled/shitu-detector models/bundled/shitu-embedder
"""

import json
import sys
from pathlib import Path

from models.artifacts.folders import MANIFEST, load_manifest, write_manifest


def main() -> None:
    for folder in map(Path, sys.argv[1:]):
        before = load_manifest(folder).digest
        table = json.loads((folder / MANIFEST).read_bytes())
        written = write_manifest(folder, **{key: table[key] for key in table if key not in ("schema", "files")})
        if written.digest != before:
            sys.exit(f"{folder}: the programs are not those that the manifest names")
        print(f"{folder}: " + ", ".join(f"{one['source']} ({one['licence']})" for one in written.credits))


if __name__ == "__main__":
    main()
