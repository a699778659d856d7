"""How a photo is recognised: the options are declared, and checked, in contracts.options."""

from contracts.errors import OptionsError
from contracts.options import RECOGNIZE_OPTIONS, RecognizeOptions, Verify, WholeImage, require_number

__all__ = ["RECOGNIZE_OPTIONS", "OptionsError", "RecognizeOptions", "Verify", "WholeImage", "require_number"]
