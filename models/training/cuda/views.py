"""Random views of many pictures at once, on the card: models.training.data.augment and handheld, batched.

Crops, turns, mirrors, other backgrounds, light and colour, blur, shake, noise, glare, fingers, covered patches. Images are
(B, C, H, W) in [0, 1]. Each picture draws its own numbers.
"""

import math

import torch
import torch.nn.functional as F  # noqa: N812  # the field's own name for it
from torch import Tensor

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SKIN = ((255, 219, 196), (236, 188, 158), (198, 134, 100), (141, 85, 60), (86, 52, 40))  # light to dark, RGB
TURN_DEG, MOST_DEG = 12.0, 25.0


def views(pixels: Tensor, indices: Tensor, photos: Tensor, size_px: int) -> Tensor:
    """One view (B, 3, size_px, size_px) of each of `indices` of `pixels` (N, 4, S, S), bytes.

    `photos` are the indices of opaque pictures: a random one shows, mostly out of focus, as the background of what stands free.
    """
    chosen = pixels[indices].float().div_(255.0)
    free = (chosen[:, 3].amin((1, 2)) < 0.5).float()[:, None, None, None]
    grid = F.affine_grid(
        _moves(len(indices), free.flatten(), pixels.device), [len(indices), 4, size_px, size_px], False
    )
    moved = F.grid_sample(chosen, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    inside = (grid.abs().amax(3) <= 1.0).float()[:, None]
    alpha = moved[:, 3:] * (inside * free + (1.0 - free))
    alpha = alpha * free + (1.0 - free)
    rgb = moved[:, :3] * alpha + _grounds(pixels, photos, len(indices), size_px) * (1.0 - alpha)
    return _weathered(_shaken(_coloured(rgb)))


def plain(pixels: Tensor, indices: Tensor, size_px: int) -> Tensor:
    """The pictures as they are enrolled: cut-outs on light grey."""
    chosen = pixels[indices].float().div_(255.0)
    rgb = chosen[:, :3] * chosen[:, 3:] + 235.0 / 255.0 * (1.0 - chosen[:, 3:])
    return resized(rgb, size_px)


def resized(images: Tensor, size_px: int) -> Tensor:
    """Smaller without aliasing."""
    if images.shape[-1] == size_px:
        return images
    return F.interpolate(images, size=(size_px, size_px), mode="bilinear", align_corners=False, antialias=True)


def normalised(images: Tensor) -> Tensor:
    """By ImageNet's mean and deviation."""
    mean, std = (torch.tensor(values, device=images.device)[:, None, None] for values in (MEAN, STD))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)


def _uniform(count: int, low: float, high: float, device: torch.device) -> Tensor:
    return torch.rand(count, device=device) * (high - low) + low


def _some(count: int, fraction: float, device: torch.device) -> Tensor:
    """1 for a random fraction, else 0: (B, 1, 1, 1)."""
    return (torch.rand(count, 1, 1, 1, device=device) < fraction).float()


def _moves(count: int, free: Tensor, device: torch.device) -> Tensor:
    """(B, 2, 3), from places of the view to places of the picture, both from -1 to 1."""
    area = _uniform(count, 0.25, 1.0, device).sqrt()
    aspect = torch.exp(_uniform(count, math.log(0.7), math.log(1.43), device) / 2)
    crops = (torch.rand(count, device=device) < 0.7 - 0.45 * free).float()  # a product seldom loses a part of it
    whole = 1.0 / (_uniform(count, 0.82, 1.2, device) * (1.0 - 0.3 * free * torch.rand(count, device=device)))
    sx = crops * (area * aspect).clamp(max=1.0) + (1.0 - crops) * whole * aspect.pow(0.3)
    sy = crops * (area / aspect).clamp(max=1.0) + (1.0 - crops) * whole / aspect.pow(0.3)
    shift_x, shift_y = (
        _uniform(count, -1.0, 1.0, device) * (crops * (1.0 - s).clamp(min=0.0) + (1.0 - crops) * 0.16) for s in (sx, sy)
    )
    angle = (torch.randn(count, device=device) * TURN_DEG).clamp(-MOST_DEG, MOST_DEG)
    quarter = (torch.rand(count, device=device) < 0.04).float() * torch.randint(1, 4, (count,), device=device)
    angle = torch.deg2rad(angle + 90.0 * quarter)
    mirror = 1.0 - 2.0 * (torch.rand(count, device=device) < 0.25).float()
    cos, sin = angle.cos(), angle.sin()
    rows = torch.stack([sx * cos * mirror, -sx * sin, shift_x, sy * sin * mirror, sy * cos, shift_y], 1)
    return rows.view(count, 2, 3)


def _grounds(pixels: Tensor, photos: Tensor, count: int, size_px: int) -> Tensor:
    """Parts of photos, sharp or not, or plain colours."""
    device = pixels.device
    chosen = photos[torch.randint(len(photos), (count,), device=device)]
    background = pixels[chosen, :3].float().div_(255.0)
    scale = _uniform(count, 0.3, 0.9, device)
    shift = (torch.rand(count, 2, device=device) * 2 - 1) * (1 - scale[:, None])
    theta = torch.zeros(count, 2, 3, device=device)
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = scale, scale, shift
    grid = F.affine_grid(theta, [count, 3, size_px, size_px], False)
    background = F.grid_sample(background, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    small = size_px // int(torch.randint(4, 12, (1,)))
    soft = F.interpolate(
        F.interpolate(background, size=(small, small), mode="area"), size=(size_px, size_px), mode="bilinear"
    )
    blurred = _some(count, 0.6, device)
    background = soft * blurred + background * (1.0 - blurred)
    shade = _uniform(count, 0.3, 1.0, device)[:, None, None, None]
    colour = (shade + 0.06 * torch.randn(count, 3, 1, 1, device=device)).clamp(0, 1)
    one_colour = _some(count, 0.4, device)
    return colour * one_colour + background * (1.0 - one_colour)


def _coloured(rgb: Tensor) -> Tensor:
    """Exposure, contrast, gamma, temperature and saturation."""
    count, device = len(rgb), rgb.device

    def around(spread: float) -> Tensor:
        return _uniform(count, -spread, spread, device)[:, None, None, None]

    rgb = rgb.clamp(1e-4, 1.0).pow(torch.exp(around(0.3)))
    rgb = (rgb - 0.5) * (1.0 + around(0.3)) + 0.5
    warmth = 0.06 * torch.randn(count, 1, 1, 1, device=device)
    tint = torch.cat([1.0 + warmth, 1.0 + 0.03 * torch.randn_like(warmth), 1.0 - warmth], 1)
    rgb = rgb * (1.0 + around(0.28)) * tint
    grey = rgb.mean(1, keepdim=True)
    return (grey + (rgb - grey) * (1.0 + around(0.3))).clamp(0.0, 1.0)


def _shaken(rgb: Tensor) -> Tensor:
    """Out of focus, or moved while the shutter was open: some rows."""
    count, size = len(rgb), rgb.shape[-1]
    several = max(1, count // 10)
    order = torch.randperm(count, device=rgb.device)
    blurred, moved, coarse = order[:several], order[several : 2 * several], order[2 * several : 3 * several]
    for rows, factor in ((blurred, 2), (coarse, 3)):
        if len(rows):
            small = F.interpolate(rgb[rows], size=(size // factor, size // factor), mode="area")
            rgb[rows] = F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
    if len(moved):
        length, angle = int(torch.randint(3, 10, (1,))), float(torch.rand(1)) * math.pi
        total = torch.zeros_like(rgb[moved])
        for step in range(5):
            along = (step - 2) * length / 4
            shifts = (round(along * math.sin(angle)), round(along * math.cos(angle)))
            total += torch.roll(rgb[moved], shifts, (2, 3))
        rgb[moved] = total / 5
    return rgb


def _weathered(rgb: Tensor) -> Tensor:
    """Glare, low light, noise, fingers and covered patches: each for some."""
    count, size, device = len(rgb), rgb.shape[-1], rgb.device
    line = torch.linspace(-1, 1, size, device=device)
    x, y = line[None, None, None, :], line[None, None, :, None]

    def each(low: float, high: float) -> Tensor:
        return _uniform(count, low, high, device)[:, None, None, None]

    angle = each(0.0, math.pi)
    u = (x - each(-1, 1)) * angle.cos() + (y - each(-1, 1)) * angle.sin()
    v = -(x - each(-1, 1)) * angle.sin() + (y - each(-1, 1)) * angle.cos()
    spot = torch.exp(-((u / each(0.05, 0.25)) ** 4) - (v / each(0.12, 0.7)) ** 4) * each(0.4, 1.0)
    spot = spot * _some(count, 0.12, device)
    rgb = rgb * (1.0 - spot) + spot
    dark = _some(count, 0.1, device)
    rgb = rgb * (1.0 - dark * each(0.35, 0.75))
    noisy = _some(count, 0.2, device) * each(0.008, 0.04) + dark * each(0.01, 0.04)
    rgb = rgb + torch.randn(count, 1, size, size, device=device) * noisy
    for fraction, low, high in ((0.25, 0.1, 0.35), (0.1, 0.3, 0.6)):
        covers = ((x - each(-1, 1)).abs() < each(low, high)) & ((y - each(-1, 1)).abs() < each(low, high))
        cover = covers.float() * _some(count, fraction, device)
        rgb = rgb * (1.0 - cover) + torch.rand(count, 3, 1, 1, device=device) * cover
    tone = torch.tensor(SKIN, device=device)[torch.randint(len(SKIN), (count,), device=device)] / 255.0
    along, thick, reach, lean = each(-0.8, 0.6), each(0.05, 0.11), each(0.25, 0.75), 0.3 * torch.randn_like(angle)
    edge, hand = torch.randint(4, (1,)).item(), torch.zeros(count, 1, size, size, device=device)
    across, depth = (x, y) if edge < 2 else (y, x)
    depth = depth + 1.0 if edge % 2 == 0 else 1.0 - depth  # from the edge inwards
    for finger in range(3):
        middle = along + 2.1 * finger * thick + lean * depth
        tip = (depth - reach * (1.0 - 0.12 * abs(finger - 1))).clamp(min=0.0)
        hand = torch.maximum(hand, ((across - middle) ** 2 + tip**2 < thick**2).float())
    hand = hand * _some(count, 0.12, device)
    return (rgb * (1.0 - hand) + tone[:, :, None, None] * hand).clamp(0.0, 1.0)
