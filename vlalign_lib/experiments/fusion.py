"""Chapter 02's experiment: drop one view at test time, under each wiring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import ClassVar

from vlalign_lib.experiments._experiment import (
    Case,
    Experiment,
    Measurement,
    SettingError,
    Table,
    check_device,
    check_least,
    choose_several,
)
from vlalign_lib.experiments._paired import paired_difference
from vlalign_lib.experiments._record import Estimate, Record


@dataclass(frozen=True)
class Wiring:
    """One way to bring two halves of a digit to one answer.

    Args:
        label: its name in tables.
        module: class of ``vlalign_lib.models.fusion``.
        version: raised whenever the same configuration gives other numbers.
        network: whether there is a hidden layer; without one it is a logistic regression.
        dropout: whether a view is dropped at random while training.
        control: the single-view method of the same capacity that it is compared with.
        units: ``"standardised"``; or ``"raw"``, columns centred but in their own units; or
            ``"volts"``, the same with the right half divided by 1,000.
    """

    label: str
    module: str
    version: str = "1"
    network: bool = True
    dropout: bool = False
    control: str | None = None
    units: str = "standardised"


METHODS: Mapping[str, Wiring] = MappingProxyType(
    {
        "left": Wiring("left half only", "SingleView", network=False),
        "right": Wiring("right half only", "SingleView", network=False),
        "early": Wiring("early", "EarlyFusion", network=False, control="left"),
        "early-dropout": Wiring(
            "early, modality dropout",
            "EarlyFusion",
            version="2",
            network=False,
            dropout=True,
            control="left",
        ),
        "decision": Wiring("posterior sum", "DecisionFusion", network=False, control="left"),
        "early-raw": Wiring(
            "early, not standardised", "EarlyFusion", network=False, control="left", units="raw"
        ),
        "early-volts": Wiring(
            "early, not standardised, right half in other units",
            "EarlyFusion",
            network=False,
            control="left",
            units="volts",
        ),
        "left-network": Wiring("left half only, network", "SingleView"),
        "early-network": Wiring("early, network", "EarlyFusion", control="left-network"),
        "early-network-dropout": Wiring(
            "early, network, modality dropout",
            "EarlyFusion",
            version="2",
            dropout=True,
            control="left-network",
        ),
        "late": Wiring("late (joint)", "LateFusion", control="left-network"),
        "late-dropout": Wiring(
            "late (joint), modality dropout",
            "LateFusion",
            version="2",
            dropout=True,
            control="left-network",
        ),
        "coordinated": Wiring("coordinated", "CoordinatedFusion", control="left-network"),
        "coordinated-dropout": Wiring(
            "coordinated, modality dropout",
            "CoordinatedFusion",
            version="2",
            dropout=True,
            control="left-network",
        ),
    }
)
"""``{method: wiring}``, in the order of the table.

Single views and the posterior sum have no variant with modality dropout: their halves are
classified apart, so that there is no other half to do without.
"""


@dataclass(frozen=True)
class FusionSettings:
    """Settings of the experiment ``fusion``.

    Args:
        methods: which wirings to run, each once; see :data:`METHODS`. ``all`` is every one.
        shares: percentages of the test items that lose their right half; whole numbers, with
            0 and 100 among them.
        width: hidden units of the wirings that are networks.
        shared: dimensions of the coordinated space.
        dropout: share of the items that lose a view in training, under modality dropout.
        coordination: weight of the distance between partners in the coordinated wiring.
        epochs: most passes through the training data.
        patience: epochs without a lower validation loss before training stops. Under modality
            dropout that is the loss of the mixture that is trained for, in its mean.
        batch_size: items a step.
        learning_rate: AdamW's step size.
        weight_decay: AdamW's weight decay.
        device: where to train; ``"auto"`` takes a GPU where there is one.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    shares: tuple[int, ...] = tuple(range(0, 101, 10))
    width: int = 64
    shared: int = 32
    dropout: float = 0.5
    coordination: float = 0.1
    epochs: int = 200
    patience: int = 15
    batch_size: int = 64
    learning_rate: float = 1e-2
    weight_decay: float = 1e-2
    device: str = "cpu"

    def __post_init__(self) -> None:
        # A frozen class sets its fields in this way only.
        object.__setattr__(self, "methods", choose_several("method", self.methods, METHODS))
        if not {0, 100} <= set(self.shares) <= set(range(101)):
            raise SettingError(
                f"setting 'shares': percentages 0 … 100 with both ends, got {self.shares}"
            )
        if not 0 < self.dropout <= 1:
            raise SettingError(f"setting 'dropout': a share in (0, 1], got {self.dropout}")
        for name in ("width", "shared", "epochs", "patience", "batch_size"):
            check_least(name, [getattr(self, name)], 1)
        for name in ("coordination", "learning_rate", "weight_decay"):
            check_least(name, [getattr(self, name)], 0)
        if self.learning_rate == 0:
            raise SettingError("setting 'learning_rate': a number above 0, got 0")
        check_device(self.device)


class FusionExperiment(Experiment):
    """Train on both halves of every digit, then test with right halves missing."""

    name: ClassVar[str] = "fusion"
    title: ClassVar[str] = "Digits in two halves: accuracy when right halves go missing"
    chapter: ClassVar[str] = "02"

    def settings(self, tier: str) -> FusionSettings:
        """Return the settings of a tier; the larger ones take a GPU where there is one."""
        return FusionSettings(device="cpu" if tier == "cpu" else "auto")

    def cases(self, settings: FusionSettings) -> tuple[Case, ...]:
        """Return one case a wiring, each with the settings that reach it, and no others."""
        cases = []
        for method in settings.methods:
            wiring = METHODS[method]
            config = {
                "module": wiring.module,
                "units": wiring.units,
                "train": "both halves",
                "missing": "right half",
                "shares": sorted(settings.shares),
                "hidden": [settings.width] if wiring.network else [],
                "modality_dropout": settings.dropout if wiring.dropout else 0.0,
                "epochs": settings.epochs,
                "patience": settings.patience,
                "batch_size": settings.batch_size,
                "learning_rate": settings.learning_rate,
                "weight_decay": settings.weight_decay,
                "device": settings.device,
            }
            if wiring.module == "CoordinatedFusion":
                config |= {"shared": settings.shared, "coordination": settings.coordination}
            if wiring.module == "SingleView":
                config["train"] = f"{method.split('-')[0]} half"
            cases.append(Case(f"digits-{method}", method, "digits", wiring.version, config))
        return tuple(cases)

    def prepare(self) -> None:
        """Import torch, the modules, and what the data come from."""
        import_module("sklearn.datasets")
        import_module("vlalign_lib.experiments._fusion")

    def measure(self, case: Case, part: str) -> Measurement:
        """Train one wiring from one seed, on that seed's split, and test it."""
        from vlalign_lib.experiments._fusion import measure_wiring

        return measure_wiring(case.config, int(part))

    def notes(self, case: Case) -> tuple[str, ...]:
        """Return what the numbers of a wiring are."""
        lines = [
            "Accuracy, a fraction of 797 test items. A seed draws the split (800/200/797), the "
            "initial weights, the order of the batches and the items that lose a half; the "
            "interval covers all of these, on this pool of 1,797 digits.",
        ]
        if METHODS[case.method].module != "SingleView":
            lines.append(
                "accuracy_missing_s: s percent of the items without their right half; "
                "accuracy_left_missing_100: all without their left half; drop: "
                "accuracy_missing_0 − accuracy_missing_100, paired by seed."
            )
        return tuple(lines)

    def table(self, records: list[Record]) -> Table:
        """Return a row a wiring, and its difference to the single view of the same capacity."""
        by_method = {r.method: r for r in records}
        order = [*METHODS]
        rows = []
        for record in sorted(records, key=lambda r: order.index(r.method)):
            wiring = METHODS[record.method]
            control = by_method.get(wiring.control or "")
            margin = "–"
            if control is not None:
                margin = _signed(paired_difference(record, control, "accuracy_missing_100"))
            shown = [_percent(record.metrics.get(f"accuracy_missing_{s}")) for s in (0, 50, 100)]
            drop = record.metrics.get("drop")
            rows.append(
                (
                    wiring.label,
                    *shown,
                    "–" if drop is None else _signed(drop),
                    margin,
                    _percent(record.metrics.get("accuracy_left_missing_100")),
                )
            )
        return Table(
            self.title,
            (
                "wiring",
                "nothing missing",
                "half of the items",
                "every right half",
                "drop",
                "minus left half only",
                "every left half",
            ),
            tuple(rows),
            (
                "Accuracy in percent, mean ± half of the 95 % interval over seeds (Student's t). "
                "Differences in percentage points, paired by seed; the control has the same "
                "capacity: a logistic regression for the first rows, a network for the others.",
                "The paper says: the webinar draws these wirings and prints no number for them.",
            ),
        )


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    half = estimate.half_width
    return f"{100 * estimate.mean:.1f}" + ("" if half is None else f" ± {100 * half:.1f}")


def _signed(estimate: Estimate) -> str:
    half = estimate.half_width
    return f"{100 * estimate.mean:+.1f}" + ("" if half is None else f" ± {100 * half:.1f}")
