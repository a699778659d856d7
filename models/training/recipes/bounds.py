"""Bounds of a recipe's numbers, said in the type of a key (`batch: Count`) and held to where a recipe is read."""

import math
from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True)
class Within:
    """From `low` to `high`, both included; not `low` with `above`, not `high` with `below`; also 0 with `or_zero`."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False
    multiple: int = 1  # of whole numbers
    or_zero: bool = False

    def holds(self, value: float) -> bool:
        """Whether a recipe may have `value`."""
        over = value > self.low if self.above else value >= self.low
        under = value < self.high if self.below else value <= self.high
        return (over and under and (self.multiple == 1 or value % self.multiple == 0)) or (self.or_zero and value == 0)

    def __str__(self) -> str:
        low, high = f"{self.low:g}", f"{self.high:g}"
        if self.high < math.inf:
            text = f"{'above ' if self.above else 'from '}{low} {'and below' if self.below else 'to'} {high}"
        else:
            text = f"above {low}" if self.above else f"{low} or more"
        text = f"a multiple of {self.multiple}, {text}" if self.multiple > 1 else text
        return f"0, or {text}" if self.or_zero else text


Count = Annotated[int, Within(1)]
Whole = Annotated[int, Within(0)]  # of things there may be none of, and seeds
Positive = Annotated[float, Within(0, above=True)]
NotNegative = Annotated[float, Within(0)]
Share = Annotated[float, Within(0, 1)]  # and probabilities
PartOfOne = Annotated[float, Within(0, 1, below=True)]  # decays, dropout, smoothing: all of it would leave nothing
Cosine = Annotated[float, Within(-1, 1)]
# The networks make a picture 32 times smaller; of less than that they see one cell, and a scene can't be drawn.
SidePx = Annotated[int, Within(32)]
FourCounts = tuple[Count, Count, Count, Count]
