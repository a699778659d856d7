"""Makes tests/golden/nets/efficientnet_*.npz from the PyTorch loader of EfficientNet-Lite, and gives how far our network is.

    pip install torch efficientnet-lite-pytorch
    python -m benchmarks.make_golden_lite [--out tests/golden/nets]

Neither package is needed otherwise. The loader's network gets parameters sampled from our parameters' names; its pooled
features are the golden.
"""

import argparse
from pathlib import Path

import numpy as np
import paddle

from models.nets.efficientnet_lite import SIZES_PX, STATISTICS, EfficientNetLite
from tests.models.nets.seeded import fill, seeded_images, seeded_state

SEED = 1
KINDS = ("lite0", "lite2")
THEIRS = {ours: theirs for theirs, ours in STATISTICS.items()}


def main() -> None:
    import torch
    from efficientnet_lite_pytorch import EfficientNet

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("tests/golden/nets"))
    out = parser.parse_args().out
    for kind in KINDS:
        ours, theirs = EfficientNetLite(kind), EfficientNet.from_name(f"efficientnet-{kind}")
        state = seeded_state(ours, SEED)
        fill(ours, state)
        names = {name: ".".join(THEIRS.get(part, part) for part in name.split(".")) for name in state}
        loaded = {names[name]: torch.from_numpy(array) for name, array in state.items()}
        missing = theirs.load_state_dict(loaded, strict=False).missing_keys
        if odd := [
            name for name in missing if not name.startswith("_fc.") and not name.endswith("num_batches_tracked")
        ]:
            raise SystemExit(f"{kind}: the loader's network has other parameters: {odd[:3]}")
        images = seeded_images(SEED, count=2, side=SIZES_PX[kind] // 32 * 32)
        pixels = np.zeros((2, 3, SIZES_PX[kind], SIZES_PX[kind]), np.float32)
        pixels[:, :, : images.shape[2], : images.shape[3]] = images
        theirs.eval()
        with torch.no_grad():
            expected = theirs.extract_features(torch.from_numpy(pixels)).mean((2, 3)).numpy()
        ours.eval()
        with paddle.no_grad():
            far = float(np.abs(ours(paddle.to_tensor(pixels)).numpy() - expected).max())
        print(f"{kind}: largest difference {far:.1e} of {float(np.abs(expected).max()):.1f}")
        np.savez_compressed(out / f"efficientnet_{kind}.npz", seed=SEED, features=expected)


if __name__ == "__main__":
    main()
