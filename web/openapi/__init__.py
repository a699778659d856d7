"""/openapi.json and the reference page made of it; what stands above each view."""
