"""Pictures: encoded bytes in, upright sRGB arrays out; cropping, resizing, previews."""
