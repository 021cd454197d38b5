"""How one wiring of the experiment ``fusion`` is trained and tested."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vlalign_lib.data import load_digit_halves
from vlalign_lib.experiments._experiment import Measurement
from vlalign_lib.experiments._record import array_hash
from vlalign_lib.models.fusion import (
    CoordinatedFusion,
    DecisionFusion,
    EarlyFusion,
    LateFusion,
    SingleView,
    coordination_loss,
    modality_dropout,
)
from vlalign_lib.training import FitConfig, fit, seeded

VOLTS = 1e-3


def measure_wiring(config: Mapping[str, Any], seed: int) -> Measurement:
    """Return the accuracies of one wiring on one seed's split."""
    digits = load_digit_halves(seed=seed)
    splits = {}
    for part in ("train", "val", "test"):
        rows = digits.split(part)
        x = torch.tensor(rows.images).flatten(1)  # (n, 32), the left halves
        y = torch.tensor(rows.texts) * (VOLTS if config["units"] == "volts" else 1.0)  # (n, 32)
        splits[part] = (x, y, torch.tensor(rows.labels))
    with seeded(seed):
        model = _build(config, len(digits.label_names))
    _fit_inputs(model, config, *splits["train"][:2])
    history = fit(
        model,
        _loss(config),
        splits["train"],
        FitConfig(
            epochs=config["epochs"],
            batch_size=config["batch_size"],
            learning_rate=config["learning_rate"],
            weight_decay=config["weight_decay"],
            patience=config["patience"],
            seed=seed,
            device=config["device"],
            progress=False,
        ),
        validation=splits["val"],
    )
    device = next(model.parameters()).device
    x, y, labels = (tensor.to(device) for tensor in splits["test"])

    def accuracy(logits: Tensor) -> float:
        return int((logits.argmax(dim=1) == labels).sum()) / len(labels)

    metrics: dict[str, float] = {}
    n = len(labels)
    # One order for all shares: who is missing at 30 % is missing at 40 % too.
    order = torch.from_numpy(np.random.default_rng((seed, 2)).permutation(n)).to(device)
    with torch.no_grad():
        if isinstance(model, SingleView):
            left = config["train"] == "left half"
            alone = accuracy(model(x if left else y))
            if left:
                metrics |= {f"accuracy_missing_{share}": alone for share in config["shares"]}
            else:
                metrics |= {"accuracy_missing_0": alone, "accuracy_left_missing_100": alone}
        else:
            for share in config["shares"]:
                has_y = torch.ones(n, dtype=torch.bool, device=device)
                has_y[order[: round(n * share / 100)]] = False
                metrics[f"accuracy_missing_{share}"] = accuracy(model(x, y, None, has_y))
            metrics["accuracy_left_missing_100"] = accuracy(model(None, y))
            metrics["drop"] = metrics["accuracy_missing_0"] - metrics["accuracy_missing_100"]
    return Measurement(
        metrics=metrics,
        data_hashes={
            "images": array_hash(digits.images),
            "texts": array_hash(digits.texts),
            "labels": array_hash(digits.labels),
            "test": array_hash(digits.splits["test"]),
        },
        details={
            "epochs": len(history.train_loss),
            "best_epoch": history.best_epoch,
            "validation_loss": min(history.validation_loss),
        },
    )


def _build(config: Mapping[str, Any], classes: int) -> nn.Module:
    hidden = config["hidden"]
    match config["module"]:
        case "EarlyFusion":
            return EarlyFusion(32, 32, classes, hidden)
        case "LateFusion":
            return LateFusion(32, 32, classes, dim_code=hidden[0])
        case "DecisionFusion":
            return DecisionFusion(32, 32, classes, hidden)
        case "CoordinatedFusion":
            return CoordinatedFusion(32, 32, classes, config["shared"], hidden)
        case _:
            return SingleView(32, classes, hidden)


def _fit_inputs(model: nn.Module, config: Mapping[str, Any], x: Tensor, y: Tensor) -> None:
    if isinstance(model, SingleView):
        model.fit_inputs(x if config["train"] == "left half" else y)
    elif isinstance(model, EarlyFusion):
        model.fit_inputs(x, y, scale=config["units"] == "standardised")
    else:
        assert isinstance(model, LateFusion | DecisionFusion | CoordinatedFusion)
        model.fit_inputs(x, y)


def _loss(config: Mapping[str, Any]) -> Callable[..., Tensor]:
    """Return ``loss(model, x, y, labels)`` of a wiring."""
    p = config["modality_dropout"]

    def single(model: Any, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model(x if config["train"] == "left half" else y), labels)

    def decision(model: Any, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        return cross_entropy(model.view_x(x), labels) + cross_entropy(model.view_y(y), labels)

    def fused(model: Any, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        if p and model.training:
            return cross_entropy(model(*modality_dropout(x, y, p)), labels)
        whole = cross_entropy(model(x, y), labels)
        if not p:
            return whole
        # What training draws, in its mean: a share p of the items lacks one view or the other.
        alone = cross_entropy(model(x, None), labels) + cross_entropy(model(None, y), labels)
        return (1 - p) * whole + p * alone / 2

    def coordinated(model: Any, x: Tensor, y: Tensor, labels: Tensor) -> Tensor:
        apart = coordination_loss(model.embed_x(x), model.embed_y(y))
        return fused(model, x, y, labels) + config["coordination"] * apart

    named = {"SingleView": single, "DecisionFusion": decision, "CoordinatedFusion": coordinated}
    return named.get(config["module"], fused)
