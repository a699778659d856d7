"""The first three calls of a newcomer: the same lines in `shitu up`, `shitu demo`, the README and the pages of docs.

They may be pasted together: each waits for its job, so that the gallery is filled when the photo is searched.
"""

BASE_URL = "http://127.0.0.1:8000"


def first_calls(base_url: str = BASE_URL) -> tuple[str, ...]:
    """Create a gallery, add a picture to it, recognise a photo; for a shell in a folder with both pictures."""
    return (
        f"curl -H 'Content-Type: application/json' -d '{{\"name\": \"drinks\"}}' {base_url}/v1/galleries",
        f"curl -H 'Prefer: wait=20' -F images=@cola.jpg -F labels=cola {base_url}/v1/galleries/drinks/items",
        f"curl -H 'Prefer: wait=20' -F image=@shelf.jpg -F gallery=drinks {base_url}/v1/recognitions",
    )
