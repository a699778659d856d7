"""Model folders: manifests, bundled, pulled and official ones, downloads, credits."""
