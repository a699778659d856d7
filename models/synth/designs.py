"""What a rendered product is: kind, proportions, colours, brand, flavour and label layout, all from one number.

Products come in families as on a shelf: four neighbouring seeds are the flavours of one product (same body, brand and
layout; other colours, icon and flavour), and three neighbouring families share a brand. So a set of seeds holds easy
and hard neighbours at once, which is what a metric-learning set needs.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]

KINDS = ("bottle", "can", "carton", "box", "jar", "pouch", "tub")
PATTERNS = (
    "plain", "plain", "gradient", "halves", "diagonal", "wave", "stripes", "pinstripes", "slant", "dots", "checks",
    "rays", "zigzag", "bubbles", "confetti", "rings", "kraft", "marble", "scatter", "bands", "hills", "triangles",
)  # fmt: skip
PANELS = ("none", "none", "band", "ellipse", "card", "ribbon", "disc", "shield", "swoosh", "frame")
LAYOUTS = ("classic", "low", "tall", "hero", "split", "stack")
ICONS = (
    "apple", "orange", "lemon", "cherry", "grape", "strawberry", "leaf", "star", "drop", "flame", "wheat", "bean",
    "mountain", "sun", "wave", "heart", "flower", "snow", "bolt", "crown", "fish", "moon", "kiwi", "tomato",
)  # fmt: skip
BADGES = ("none", "none", "burst", "disc", "tag", "corner")
FLAVOURS = (
    "Original", "Apple", "Orange", "Lemon", "Cherry", "Grape", "Berry", "Mint", "Vanilla", "Cocoa", "Honey", "Ginger",
    "Peach", "Mango", "Classic", "Zero", "Light", "Spicy", "Smoky", "Sea Salt", "Caramel", "Coconut", "Green Tea",
    "Black Tea", "Hibiscus", "Wild Rose", "Pear", "Plum", "Lime", "Melon", "Hazelnut", "Oat", "Rice", "Tomato",
)  # fmt: skip
_ONSETS = (
    "Va", "Ke", "Mo", "Ti", "Zu", "Lo", "Fri", "Bra", "Oru", "Qui", "Sel", "Pim", "Gro", "Hy", "Ur", "Dax", "Wol",
    "Nim", "Jo", "Cal", "Eb", "Yo", "Xan", "Ru", "Plo", "Ska", "Ter", "Ima", "Bo", "Fen",
)  # fmt: skip
_MIDDLES = ("", "", "lo", "ri", "va", "mba", "ne", "to", "ski", "du", "xi", "po", "ga", "zel", "no")
_ENDS = ("ra", "mi", "lux", "bel", "vo", "nti", "ka", "zo", "rin", "do", "pa", "wen", "tal", "sy", "gu", "mor", "ff")


@dataclass(frozen=True)
class Lettering:
    """How a brand is written.

    `script` is "latin", or "glyphs" for invented square characters; `weight` 0 (thin) to 1 (black); `slant` the shear
    (tangent); `stretch` the widening of each letter; `spacing` extra space between letters in em; `style` one of
    "solid", "inline", "round", "stencil", "shadow", "outlined"; `bend` the arc's height in units of the text's.
    """

    script: str
    weight: float
    slant: float
    stretch: float
    spacing: float
    style: str
    bend: float
    upright: bool


@dataclass(frozen=True)
class ProductDesign:
    """One product's identity: everything about it that does not change from view to view.

    Colours are RGB. `base` and `second` fill the label, `accent` carries icon and badge, `ink` writes on `base`,
    `panel` is the brand's own field and `panel_ink` what is written on it. `aspect` is width / height of the body;
    `shape` holds six silhouette knobs in 0..1, read by `silhouettes`; `label_span` is where the label begins and ends
    on the body's height (two knobs in 0..1 as well). `art_seed` is shared by a family, `seed` is the product's own.
    """

    seed: int
    art_seed: int
    kind: str
    brand: str
    flavour: str
    base: Colour
    second: Colour
    accent: Colour
    ink: Colour
    panel: Colour
    panel_ink: Colour
    cap: Colour
    content: Colour
    lettering: Lettering
    pattern: str
    panel_shape: str
    layout: str
    icon: str
    badge: str
    aspect: float
    depth: float
    shape: tuple[float, ...]
    label_span: tuple[float, float]
    gloss: float


def luminance(colour: Colour) -> float:
    """Perceived brightness, 0 (black) to 1 (white), by the Rec. 601 weights."""
    return (0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]) / 255.0


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return round(red * 255), round(green * 255), round(blue * 255)


def _ink_on(colour: Colour, hue: float, rng: np.random.Generator) -> Colour:
    """A colour that can be read on `colour`: near white or a deep tone, whichever stands out.

    It always takes as many random numbers, so that the flavours of a family stay alike in all that is sampled after it.
    """
    yellow, faint, strong, depth = (float(value) for value in rng.random(4))
    if luminance(colour) >= 0.52:
        return _hsv(hue, 0.3 + 0.7 * strong, 0.08 + 0.27 * depth)
    return (255, 222, 110) if yellow < 0.2 else _hsv(hue, 0.12 * faint, 0.93 + 0.07 * depth)


def _mixed(colour: Colour, other: Colour, fraction: float) -> Colour:
    red, green, blue = (round(one + (two - one) * fraction) for one, two in zip(colour, other, strict=True))
    return red, green, blue


def _readable_under(colour: Colour, ink: Colour, base: Colour) -> Colour:
    """`colour` pulled towards `base` where writing in `ink` could not be read on it."""
    return _mixed(colour, base, 0.7) if abs(luminance(colour) - luminance(ink)) < 0.3 else colour


def _apart_from(colour: Colour, base: Colour) -> Colour:
    """`colour` made lighter or darker where it could not be distinguished from `base`."""
    if sum(abs(one - two) for one, two in zip(colour, base, strict=True)) >= 150:
        return colour
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255.0 for channel in colour))
    if luminance(base) < 0.5:
        return _hsv(hue, min(saturation, 0.45), 1.0)
    return _hsv(hue, max(saturation, 0.85), min(value, 0.72))


def _brand(rng: np.random.Generator) -> str:
    word = str(rng.choice(_ONSETS)) + str(rng.choice(_MIDDLES)) + str(rng.choice(_ENDS))
    form = rng.random()
    if form < 0.45:
        return word.upper()
    return word.lower() if form < 0.6 else word


def _lettering(rng: np.random.Generator) -> Lettering:
    return Lettering(
        script="glyphs" if rng.random() < 0.3 else "latin",
        weight=float(rng.choice([0.15, 0.4, 0.6, 0.8, 1.0])),
        slant=float(rng.choice([0.0, 0.0, 0.0, 0.2, 0.35, -0.1])),
        stretch=float(rng.choice([0.65, 0.8, 1.0, 1.0, 1.25])),
        spacing=float(rng.choice([-0.04, 0.0, 0.0, 0.06, 0.18])),
        style=str(rng.choice(["solid", "solid", "solid", "round", "inline", "stencil", "shadow", "outlined"])),
        bend=float(rng.choice([0.0, 0.0, 0.0, 0.0, 0.35, -0.35, 0.6])),
        upright=bool(rng.random() < 0.15),
    )


# Width / height of the body, lowest and highest, by kind.
_ASPECTS = {
    "bottle": (0.24, 0.5), "can": (0.38, 0.66), "carton": (0.36, 0.7), "box": (0.45, 1.5), "jar": (0.55, 0.95),
    "pouch": (0.55, 0.95), "tub": (0.75, 1.35),
}  # fmt: skip


@dataclass(frozen=True)
class _Scheme:
    saturation: tuple[float, float]
    value: tuple[float, float]


_SCHEMES = (
    _Scheme((0.7, 1.0), (0.7, 1.0)),  # bright
    _Scheme((0.7, 1.0), (0.7, 1.0)),
    _Scheme((0.15, 0.45), (0.88, 1.0)),  # pastel
    _Scheme((0.4, 1.0), (0.1, 0.35)),  # dark
    _Scheme((0.0, 0.07), (0.9, 1.0)),  # white
    _Scheme((0.5, 0.9), (0.4, 0.7)),  # deep
    _Scheme((0.25, 0.5), (0.55, 0.8)),  # muted
    _Scheme((0.0, 0.1), (0.6, 0.8)),  # silver
)


def design_product(seed: int) -> ProductDesign:
    """The product of a seed (any integer >= 0): the same seed gives the same product.

    Seeds 4n..4n+3 are four flavours of one product; families 3m..3m+2 (twelve seeds) share the brand and its lettering.
    """
    if seed < 0:
        raise ValueError(f"a product's seed is 0 or more, not {seed}")
    family, variant = divmod(seed, 4)
    house_rng = np.random.default_rng((7001, family // 3))
    brand, lettering = _brand(house_rng), _lettering(house_rng)
    rng = np.random.default_rng((7002, family))
    kind = str(rng.choice(KINDS, p=[0.24, 0.2, 0.13, 0.15, 0.1, 0.1, 0.08]))
    family_hue = float(rng.random())
    scheme, accent_scheme = _SCHEMES[int(rng.integers(len(_SCHEMES)))], _SCHEMES[int(rng.integers(3))]
    base_follows_flavour = bool(rng.random() < 0.5)
    flavour_hues = family_hue + 0.25 * rng.permutation(4) + rng.uniform(-0.05, 0.05, 4)
    flavours = rng.choice(FLAVOURS, 4, replace=False)
    icons = rng.choice(ICONS, 4, replace=False)
    keeps_icon = bool(rng.random() < 0.2)
    accent_hue = float(flavour_hues[variant])
    base_hue = accent_hue + float(rng.choice([0.0, 0.5, 0.33])) if base_follows_flavour else family_hue
    base = _hsv(base_hue, rng.uniform(*scheme.saturation), rng.uniform(*scheme.value))
    second_hue = base_hue + float(rng.choice([0.0, 0.04, -0.06, 0.12, 0.5])) if rng.random() < 0.6 else accent_hue
    second_scheme = _SCHEMES[int(rng.integers(len(_SCHEMES)))]
    second = _hsv(second_hue, rng.uniform(*second_scheme.saturation), rng.uniform(*second_scheme.value))
    accent = _hsv(accent_hue, rng.uniform(*accent_scheme.saturation), rng.uniform(*accent_scheme.value))
    accent = _apart_from(accent, base)
    ink = _ink_on(base, base_hue, rng)
    second = _readable_under(second, ink, base)
    panel_choice = rng.random()
    panel = (250, 248, 242) if panel_choice < 0.4 else accent if panel_choice < 0.75 else _hsv(family_hue, 0.85, 0.35)
    low, high = _ASPECTS[kind]
    label_top, label_bottom, *knobs = (float(value) for value in rng.random(8))
    return ProductDesign(
        seed=seed,
        art_seed=family,
        kind=kind,
        brand=brand,
        flavour=str(flavours[variant]),
        base=base,
        second=second,
        accent=accent,
        ink=ink,
        panel=panel,
        panel_ink=_ink_on(panel, family_hue, rng),
        cap=accent if rng.random() < 0.4 else _hsv(rng.random(), rng.uniform(0.0, 1.0), rng.uniform(0.15, 1.0)),
        content=_hsv(accent_hue + rng.uniform(-0.04, 0.04), rng.uniform(0.1, 0.9), rng.uniform(0.25, 0.95)),
        lettering=lettering,
        pattern=str(rng.choice(PATTERNS)),
        panel_shape=str(rng.choice(PANELS)),
        layout=str(rng.choice(LAYOUTS)),
        icon=str(icons[0] if keeps_icon else icons[variant]),
        badge=str(rng.choice(BADGES)),
        aspect=float(rng.uniform(low, high)),
        depth=float(rng.uniform(0.25, 0.9)),
        shape=tuple(knobs),
        label_span=(label_top, label_bottom),
        gloss=float(rng.uniform(0.0, 1.0)),
    )
