"""The network that sees the pictures: VGG-19 of torchvision, up to fc7."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vlalign_lib.data._cache import DataUnavailable, offline

if TYPE_CHECKING:
    from PIL.Image import Image

# torchvision's classifier is fc6, ReLU, dropout, fc7, ReLU, dropout, fc8: these five reach fc7.
_UP_TO_FC7 = 5


class Vgg19Fc7:
    """Turn pictures into the 4,096 activations of VGG-19's second hidden layer, after its ReLU.

    Pictures are resized to 256 pixels at the shorter side, cut to the middle 224×224, scaled to
    [0, 1] and standardised with the colours of ImageNet, as torchvision's weights want it.

    Args:
        device: where to compute; ``"auto"`` for a GPU where there is one.

    Raises:
        ValueError: a device that is not there.
        DataUnavailable: torchvision is not installed, or its weights cannot be had.
    """

    def __init__(self, device: str = "auto") -> None:
        import torch

        self.device = _as_device(device)
        try:
            import torchvision
            from torchvision.models import VGG19_Weights, vgg19
        except ImportError as error:
            raise DataUnavailable(
                "the features of pictures need torchvision, which is not installed: "
                'pip install "vlalign-lib[features]"'
            ) from error
        except RuntimeError as error:
            raise DataUnavailable(
                f"torchvision does not fit torch {torch.__version__} here ({error}); install "
                "the two together, from one source"
            ) from error
        weights = VGG19_Weights.IMAGENET1K_V1
        network = _load(vgg19, weights)
        network.classifier = network.classifier[:_UP_TO_FC7]
        self.network = network.eval().to(self.device)
        self.prepare = weights.transforms()
        self.description = (
            f"VGG-19 fc7 after ReLU, torchvision {torchvision.__version__}, weights {weights}; "
            "shorter side 256, middle 224×224"
        )

    def __call__(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """Return (b, 4096) float32 for b RGB pictures."""
        import torch

        batch = torch.stack([self.prepare(picture) for picture in pictures])
        try:
            with torch.inference_mode():
                features = self.network(batch.to(self.device))
        except torch.OutOfMemoryError as error:
            raise ValueError(
                f"batch size {len(pictures)}: too many pictures for the memory of {self.device}; "
                "try half (--batch-size)"
            ) from error
        array: NDArray[np.float32] = features.float().cpu().numpy()
        return array


def _load(vgg19: Any, weights: Any) -> Any:
    import torch

    kept = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rsplit("/", 1)[-1]
    try:
        if offline() and not kept.is_file():
            raise OSError("VLALIGN_OFFLINE=1 forbids the network")
        return vgg19(weights=weights)
    except (OSError, RuntimeError) as error:
        raise DataUnavailable(
            f"the weights of VGG-19 (548 MB) cannot be had: {error}. With a network (and without "
            f"VLALIGN_OFFLINE), run this again; or put {weights.url} at {kept}"
        ) from error


def _as_device(device: str) -> Any:
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
        torch.zeros(1, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f'device: {device!r} cannot be used here ({error}); use "cpu" or "auto"'
        ) from error
    return found
