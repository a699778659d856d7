"""Imports: many pictures from elsewhere into one version of a gallery, in batches that survive their worker."""
