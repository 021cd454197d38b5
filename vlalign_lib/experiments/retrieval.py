"""Chapter 08's table: every method of the course on every data set, by one protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from types import MappingProxyType
from typing import Any, ClassVar

from vlalign_lib.experiments._experiment import (
    Case,
    Experiment,
    Measurement,
    Table,
    check_device,
    check_least,
    choose_several,
)
from vlalign_lib.experiments._grid import edges
from vlalign_lib.experiments._phrases import ANSWERS as ANSWERS
from vlalign_lib.experiments._phrases import PHRASES as PHRASES
from vlalign_lib.experiments._record import Estimate, Record
from vlalign_lib.experiments.linear import PROTOCOLS_IN_WORDS, LinearSettings
from vlalign_lib.experiments.paper_tables import CLASSIC_ROWS, FEATURES, RETRIEVAL_ROWS, SOURCES

Grid = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True)
class RetrievalMethod:
    """One row of the table.

    Args:
        label: its name in tables.
        grid: ``{parameter: values}`` that validation chooses from.
        picture_grid: what it chooses from where a network reads pictures of characters.
        fixed: parameters that differ from the method's defaults.
        trained: whether it is a network: then the tier decides its size and length.
        version: raised whenever the same configuration gives other numbers.
        names_version: the same for the glyph names, where it differs.
    """

    label: str
    grid: Grid = field(default_factory=dict)
    picture_grid: Grid = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    trained: bool = True
    version: str = "1"
    names_version: str | None = None


_LINEAR = LinearSettings()
METHODS: Mapping[str, RetrievalMethod] = MappingProxyType(
    {
        "cca": RetrievalMethod(
            "CCA",
            {"n_components": _LINEAR.components, "reg": _LINEAR.cca_regs},
            trained=False,
            version="2",  # the ridge counts the columns that vary
        ),
        "cfa": RetrievalMethod("CFA", {"n_components": _LINEAR.components}, trained=False),
        "kcca": RetrievalMethod(
            "KernelCCA",
            {"n_components": _LINEAR.components, "reg": _LINEAR.kcca_regs},
            trained=False,
        ),
        "lgcfl": RetrievalMethod("LGCFL", {"sparsity": (1.0, 10.0, 100.0)}, trained=False),
        "jrl": RetrievalMethod(
            "JRL",
            {"sparsity": (1.0, 10.0, 100.0), "smoothness": (0.0, 1.0, 10.0)},
            trained=False,
        ),
        "sm": RetrievalMethod("SM", {"reg": _LINEAR.sm_regs}, trained=False),
        "scm": RetrievalMethod(
            "SCM",
            {
                "n_components": _LINEAR.scm_components,
                "cca_reg": _LINEAR.scm_cca_regs,
                "reg": _LINEAR.scm_regs,
            },
            trained=False,
            version="2",
        ),
        "bimodal_ae": RetrievalMethod("Bimodal AE"),
        "corr_ae": RetrievalMethod("Corr-AE", {"alpha": (0.2, 0.5, 0.8)}),
        "corr_cross_ae": RetrievalMethod("Corr-Cross-AE", {"alpha": (0.2, 0.5, 0.8)}),
        "corr_full_ae": RetrievalMethod("Corr-Full-AE", {"alpha": (0.2, 0.5, 0.8)}),
        "dcca": RetrievalMethod(
            "DCCA",
            {
                "n_components": (10, 20),
                "dropout": (0.0, 0.3),
                "learning_rate": (2e-3, 5e-3),
            },
            # A batch's correlations suffer from both, far more than other objectives do.
            picture_grid={"dropout": (0.0, 0.3), "shift": (0, 1)},
        ),
        "cmdn": RetrievalMethod("CMDN-style"),
        "deep_sm": RetrievalMethod("Deep-SM", {"temperature": (1.0, 2.0)}),
        "acmr": RetrievalMethod("ACMR", {"class_weight": (1.0, 10.0)}),
        # Unit vectors since version 2: the same by cosine, which is all that the names ask for.
        "ccl": RetrievalMethod(
            "CCL, coarse", {"class_weight": (0.1, 1.0)}, version="2", names_version="1"
        ),
        "triplet": RetrievalMethod("Triplet, semi-hard", {"margin": (0.1, 0.2, 0.3)}),
        "sam": RetrievalMethod("SAM, reconstructed", {"margin": (0.1, 0.2, 0.3)}),
        "info_nce": RetrievalMethod("InfoNCE", {"temperature": (0.05, 0.1)}),
    }
)
"""``{method: row}``, in the order of the table."""


@dataclass(frozen=True)
class RetrievalData:
    """One block of columns of the table.

    Args:
        label: its name in tables.
        config: what is loaded.
        names: whether the partner is what is looked for (by recall), not the class (by mAP).
        official: whether the published split is measured beside random ones.
        printed: the data set of the printed table with these very features, if it is one.
    """

    label: str
    config: Mapping[str, Any]
    names: bool = False
    official: bool = False
    printed: str | None = None


def _glyph_names(split: str) -> dict[str, Any]:
    return {"name": "glyphs", "split": split, "drop_family_word": False, "families_only": False}


DATASETS: Mapping[str, RetrievalData] = MappingProxyType(
    {
        "digits": RetrievalData("digits (halves)", {"name": "digits"}),
        "glyphs": RetrievalData(
            "glyphs (17 families)",
            {
                "name": "glyphs",
                "split": "random",
                "drop_family_word": True,
                "families_only": True,
            },
        ),
        "wikipedia": RetrievalData("Wikipedia, classic", {"name": "wikipedia"}, official=True),
        "names": RetrievalData("glyph names, random", _glyph_names("random"), names=True),
        "names_compositional": RetrievalData(
            "glyph names, new combinations", _glyph_names("compositional"), names=True
        ),
        "names_typeface": RetrievalData(
            "glyph names, new typefaces", _glyph_names("typeface"), names=True
        ),
        "pascal_sentences": RetrievalData(
            "Pascal Sentences",
            {"name": "pascal_sentences"},
            official=True,
            printed="Pascal Sentences",
        ),
        "nus_wide_10k": RetrievalData(
            "NUS-WIDE-10k", {"name": "nus_wide_10k"}, official=True, printed="NUS-WIDE-10k"
        ),
        "wikipedia_deep": RetrievalData(
            "Wikipedia, deep features",
            {"name": "wikipedia_deep"},
            official=True,
            printed="Wikipedia",
        ),
    }
)
"""``{data set: columns}``, in the order of the table."""

LANDMARKS = 1000
"""Training pairs that kernel CCA compares with on the glyph names; elsewhere with all of them."""

_GLYPHS = ("glyphs", "names", "names_compositional", "names_typeface")


@dataclass(frozen=True)
class RetrievalSettings:
    """Settings of the experiment ``retrieval``: what to run, and how large the networks are.

    Args:
        datasets: which data sets, each once; ``all`` is every one. The two harder splits of the
            glyph names are asked for by name; so are ``pascal_sentences``, ``nus_wide_10k`` and
            ``wikipedia_deep``, which need features that you make (``vlalign data features``).
        methods: which methods, each once; ``all`` is every one.
        epochs: passes over vectors.
        picture_epochs: passes over pictures.
        hidden: widths of the layers between, for vectors.
        channels: filters of the first convolution, for pictures.
        n_components: dimensions of the shared space for pictures, where a method has no grid of
            its own.
        device: ``"cpu"``, ``"cuda"`` (or ``"cuda:1"``), or ``"auto"`` for a GPU where there is one.
    """

    datasets: tuple[str, ...] = ("digits", "glyphs", "wikipedia", "names")
    methods: tuple[str, ...] = tuple(METHODS)
    epochs: int = 60
    picture_epochs: int = 20
    hidden: tuple[int, ...] = (256,)
    channels: int = 16
    n_components: int = 128
    device: str = "cpu"

    def __post_init__(self) -> None:
        # A frozen class sets its fields in this way only.
        object.__setattr__(self, "datasets", choose_several("data set", self.datasets, DATASETS))
        object.__setattr__(self, "methods", choose_several("method", self.methods, METHODS))
        check_least("hidden", self.hidden, 1)
        for name in ("epochs", "picture_epochs", "channels", "n_components"):
            check_least(name, [getattr(self, name)], 1)
        check_device(self.device)


class RetrievalExperiment(Experiment):
    """Every method on every data set: class mAP, or the rank of the partner."""

    name: ClassVar[str] = "retrieval"
    title: ClassVar[str] = "Cross-modal retrieval: cosine, the whole gallery"
    chapter: ClassVar[str] = "08"
    seeds_are: ClassVar[str] = "resplits"

    def settings(self, tier: str) -> RetrievalSettings:
        """Return the settings of a tier: larger networks, trained for longer, on a device."""
        if tier == "cpu":
            return RetrievalSettings()
        if tier == "colab":
            return RetrievalSettings(
                epochs=120, picture_epochs=60, hidden=(512,), channels=48, device="auto"
            )
        return RetrievalSettings(
            epochs=200,
            picture_epochs=120,
            hidden=(1024, 1024),
            channels=96,
            n_components=256,
            device="auto",
        )

    def ledger_cases(self, tier: str) -> tuple[Case, ...]:
        """Return the cases of all data sets, also of those that one has to make or ask for."""
        return self.cases(self.configured(tier, {"datasets": tuple(DATASETS)}))

    def cases(self, settings: RetrievalSettings) -> tuple[Case, ...]:
        """Return one case a method and data set, with what validation chooses from."""
        return tuple(
            Case(
                f"{dataset}-{name}",
                name,
                dataset,
                (DATASETS[dataset].names and METHODS[name].names_version) or METHODS[name].version,
                _config(name, dataset, settings),
                DATASETS[dataset].official,
            )
            for dataset in settings.datasets
            for name in settings.methods
        )

    def prepare(self) -> None:
        """Import the methods, the metrics and the solver that they import late."""
        import_module("sklearn.linear_model")
        import_module("vlalign_lib.experiments._retrieval")

    def measure(self, case: Case, part: str) -> Measurement:
        """Choose on validation, fit again on train and validation, and test."""
        from vlalign_lib.experiments._retrieval import measure_method

        return measure_method(case.config, part)

    def notes(self, case: Case) -> tuple[str, ...]:
        """Return what the numbers of a case are, and how it was tuned."""
        data = DATASETS[case.dataset]
        lines = [
            "recall*, medr, mrr: the one partner, cosine, the whole gallery. answers: what the "
            "first seed's method finds among its test pictures for some phrases."
            if data.names
            else PROTOCOLS_IN_WORDS,
            f"Hyper-parameters were chosen for {_criterion(data)} on the validation split alone."
            if case.config["grid"]
            else "The method's settings are fixed; nothing was chosen on the validation split.",
            "metrics: mean over seeds, each with a random split, weights and order of its own, "
            "with Student's 95 % interval; the splits overlap.",
        ]
        if data.official:
            lines.append(
                "official: the published test pairs; the interval is a percentile bootstrap over "
                "the queries with the fitted method held fixed."
            )
        if case.config["fixed"].get("landmarks"):
            lines.append(_LANDMARKS_IN_WORDS)
        if case.method == "jrl" and not data.names:
            lines.append(
                "map_votes_*: JRL's published similarity, votes of the nearest training rows, "
                "compared by dot product, with the hyper-parameters chosen for cosine."
            )
        if case.dataset == "names_typeface":
            lines.append("Means over the two test typefaces, each a gallery of its own.")
        return tuple(lines)

    def table(self, records: list[Record]) -> Table:
        """Return the printed rows and ours, method by method."""
        ours = {(record.dataset, record.method): record for record in records}
        classes = [name for name, data in DATASETS.items() if not data.names]
        names = [name for name, data in DATASETS.items() if data.names]
        quoted = {
            name: {row.method: row.mean for row in RETRIEVAL_ROWS if row.dataset == data.printed}
            for name, data in DATASETS.items()
            if data.printed
        }
        quoted["wikipedia"] = {row.method: row.mean for row in CLASSIC_ROWS}
        columns = ["method"]
        for name in classes:
            if name in quoted:
                columns.append(f"{DATASETS[name].label}, paper")
            columns.append(f"{DATASETS[name].label}, ours")
        columns += [f"{DATASETS[name].label}, R@10" for name in names]
        rows = []
        labels = {method: about.label for method, about in METHODS.items()}
        labels |= {r.method: r.method for r in records if r.method not in METHODS}
        edge = edges(records, labels)
        for method, label in labels.items():
            row = [label]
            for name in classes:
                if name in quoted:
                    mean = quoted[name].get(method)
                    row.append("–" if mean is None else f"{mean:.3f}")
                row.append(_shown(ours.get((name, method)), "map_mean"))
            row += [_shown(ours.get((name, method)), "recall10_t2i") for name in names]
            rows.append(tuple(row))
        return Table(
            self.title,
            tuple(columns),
            tuple(rows),
            (
                "Class mAP, mean of both directions; glyph names: share of the names whose "
                "picture is among the ten best. Mean ± half of the 95 % interval over seeds, each "
                "with its own split; Wikipedia with deep features, Pascal Sentences and "
                "NUS-WIDE-10k: on the published test pairs, bootstrap over the queries.",
                f"Paper: {SOURCES['webinar']}; Wikipedia classic: {SOURCES['Rasiwasia 2010']}.",
                "What the printed numbers rest on: "
                + "; ".join(f"{name}: {what}" for name, what in FEATURES.items())
                + ". Whoever has the originals makes the features with `vlalign data features` "
                "and runs `vlalign run retrieval --data …`.",
                "The glyph names of all 17 families begin with the family's word, so that "
                "classes would be read off the name: only the partner is scored there.",
                "CMDN-style and SAM are reconstructions; CCL is its coarse stream.",
                _LANDMARKS_IN_WORDS,
                *_votes(records),
                *([edge] if edge else []),
            ),
        )


_LANDMARKS_IN_WORDS = (
    f"KernelCCA on the glyph names is an approximation through {LANDMARKS} landmarks; on the sets "
    "with classes it is exact."
)


def _votes(records: list[Record]) -> list[str]:
    """Return a note on what JRL reaches by its published similarity, where that is recorded."""
    found = [
        f"{DATASETS[r.dataset].label} {r.metrics['map_votes_mean']:.3f}"
        for r in records
        if "map_votes_mean" in r.metrics
    ]
    if not found:
        return []
    return ["JRL by its published similarity, votes of neighbours: " + "; ".join(found) + "."]


def _shown(record: Record | None, metric: str) -> str:
    if record is None:
        return "not measured"
    estimates: Mapping[str, Estimate] = record.metrics
    if DATASETS[record.dataset].printed and record.official:
        estimates = record.official
    return format(estimates[metric], ".3f")


def _criterion(data: RetrievalData) -> str:
    return "the mean reciprocal rank" if data.names else "class mAP, mean of both directions,"


def _config(name: str, dataset: str, settings: RetrievalSettings) -> dict[str, Any]:
    """Return everything that decides the numbers of a case."""
    method, data = METHODS[name], DATASETS[dataset]
    on_pictures = method.trained and dataset in _GLYPHS
    chosen = method.picture_grid if on_pictures else method.grid
    grid: dict[str, Any] = {key: sorted(values) for key, values in chosen.items()}
    fixed: dict[str, Any] = dict(method.fixed)
    if method.trained:
        fixed |= {"epochs": settings.epochs, "hidden": list(settings.hidden)}
        fixed |= {"device": settings.device}
    if on_pictures:
        # One fit takes as long as a whole grid on vectors: mostly the defaults, nothing chosen.
        fixed |= {"epochs": settings.picture_epochs, "channels": settings.channels}
        fixed |= _FOR_PICTURES.get(name, {"n_components": settings.n_components})
    if data.names:
        fixed |= _FOR_NAMES.get(name, {})
        grid = dict(_GRIDS_FOR_NAMES.get(name, grid))
    return case_config(name, dataset, fixed, grid)


def case_config(
    name: str, dataset: str, fixed: Mapping[str, Any], grid: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the configuration of any method, of the table or not, on one of its data sets."""
    data = DATASETS[dataset]
    return {
        "method": name,
        "data": dict(data.config),
        "task": "names" if data.names else "classes",
        "grid": dict(grid),
        "fixed": dict(fixed),
        "chosen_by": f"{_criterion(data)} on the validation split".replace(",", ""),
        "fitted_on": "train + validation, after the choice",
    }


_FOR_PICTURES: Mapping[str, Mapping[str, Any]] = {
    "deep_sm": {},
    "cmdn": {},
    "acmr": {},
    "dcca": {"n_components": 40, "batch_size": 400},
}
# To find the partner itself, items of one class are strangers to each other.
_FOR_NAMES: Mapping[str, Mapping[str, Any]] = {
    "triplet": {"positives": "pair"},
    "info_nce": {"temperature": 0.05},
    "kcca": {"landmarks": LANDMARKS},
}
# One fit takes several times as long there.
_GRIDS_FOR_NAMES: Mapping[str, Mapping[str, Any]] = {
    "cca": {"n_components": [40, 80, 160], "reg": [1e-4, 1e-3, 1e-2, 1e-1]},
    "cfa": {"n_components": [40, 80, 160]},
    "kcca": {"n_components": [40, 80, 160], "reg": [1e-1, 1.0, 10.0]},
    "jrl": {"sparsity": [1.0, 10.0, 100.0]},
    "scm": {"n_components": [10, 40], "cca_reg": [1e-1, 1.0], "reg": [1e-3, 1e-2]},
}
