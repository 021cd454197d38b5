import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from vlalign_lib.linear import CCA, CFA, KernelCCA, SemanticMatching


@pytest.fixture
def labelled_views(paired_views):
    x, y = paired_views(90, 6, 4, shared=3, noise=0.5)
    return x, y, np.digitize(x[:, 0] + x[:, 1], np.quantile(x[:, 0] + x[:, 1], [0.3, 0.7])) * 2 + 3


def zscore(x):
    return (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)


def loss_by_loops(z, labels, classes, w, b, reg):
    """Mean cross-entropy plus (reg/2)‖W‖², and its gradient, one pair and one class at a time."""
    n, c = len(z), len(classes)
    loss, dw, db = reg / 2 * (w**2).sum(), reg * w.copy(), np.zeros(c)
    for i in range(n):
        logits = [sum(z[i] * w[:, j]) + b[j] for j in range(c)]
        total = sum(np.exp(logit) for logit in logits)
        for j in range(c):
            posterior = np.exp(logits[j]) / total
            hit = float(labels[i] == classes[j])
            loss -= hit * np.log(posterior) / n
            dw[:, j] += (posterior - hit) * z[i] / n
            db[j] += (posterior - hit) / n
    return loss, dw, db


@pytest.mark.parametrize("reg", [1e-3, 0.1])
@pytest.mark.parametrize("binary", [False, True])
def test_both_classifiers_are_at_the_minimum_of_the_documented_loss(
    reg, binary, labelled_views, agrees
):
    x, y, labels = labelled_views
    labels = (labels > 3).astype(int) if binary else labels
    sm = SemanticMatching(reg=reg).fit(x, y, labels)
    for view, w, b in (
        (x, sm.image_weights_, sm.image_bias_),
        (y, sm.text_weights_, sm.text_bias_),
    ):
        loss, dw, db = loss_by_loops(zscore(view), labels, sm.classes_, w, b, reg)
        slope = np.append(dw, db)
        agrees(
            "linear.SemanticMatching",
            slope,
            np.zeros_like(slope),
            "loop",
            "the slope of its loss, in loops",
            2e-5,
        )
        rng = np.random.default_rng(0)
        for _ in range(5):
            moved = w + 0.1 * rng.normal(size=w.shape)
            assert loss_by_loops(zscore(view), labels, sm.classes_, moved, b, reg)[0] > loss


def test_agrees_with_scikit_learn_alone(labelled_views, agrees):
    x, y, labels = labelled_views
    sm = SemanticMatching(reg=0.01).fit(x, y, labels)
    peer = LogisticRegression(C=1 / (90 * 0.01), tol=1e-10, max_iter=10_000)
    expected = peer.fit(zscore(x), labels).predict_proba(zscore(x))
    agrees(
        "linear.SemanticMatching",
        sm.embed_images(x),
        expected,
        "peer",
        "scikit-learn's LogisticRegression",
        2e-3,
    )
    np.testing.assert_array_equal(sm.classes_, [3, 5, 7])


def test_embeddings_are_posteriors(labelled_views):
    x, y, labels = labelled_views
    sm = SemanticMatching().fit(x, y, labels)
    u = sm.embed_images(x)
    assert u.shape == (90, 3)
    assert (u > 0).all()
    np.testing.assert_allclose(u.sum(axis=1), 1, atol=1e-12)
    assert (sm.classes_[u.argmax(axis=1)] == labels).mean() > 0.9


def test_temperature_and_log_by_hand(labelled_views):
    x, y, labels = labelled_views
    plain = SemanticMatching().fit(x, y, labels)
    logits = zscore(x) @ plain.image_weights_ + plain.image_bias_
    warm = SemanticMatching(temperature=4.0).fit(x, y, labels).embed_images(x)
    expected = np.exp(logits / 4)
    np.testing.assert_allclose(warm, expected / expected.sum(axis=1, keepdims=True), atol=1e-12)
    log = SemanticMatching(space="log", temperature=2.0).fit(x, y, labels).embed_images(x)
    np.testing.assert_allclose(log, (logits - logits.mean(axis=1, keepdims=True)) / 2, atol=1e-10)


def test_extreme_rows_stay_finite(labelled_views):
    x, y, labels = labelled_views
    for space in ("probability", "log"):
        sm = SemanticMatching(space=space).fit(x, y, labels)
        assert np.isfinite(sm.embed_images(1e8 * x)).all()


@pytest.mark.parametrize("on", [CCA(3), KernelCCA(3), CFA(3)])
def test_on_another_method_is_that_method_then_semantic_matching(on, labelled_views, agrees):
    x, y, labels = labelled_views
    scm = SemanticMatching(on=on).fit(x, y, labels)
    beneath = type(on)(3).fit(x, y)
    u, v = beneath.embed_images(x), beneath.embed_texts(y)
    above = SemanticMatching().fit(u, v, labels)
    agrees(
        "linear.SemanticMatching",
        scm.embed_images(x),
        above.embed_images(u),
        "derivation",
        "the method beneath, then classifiers",
        1e-12,
    )
    np.testing.assert_allclose(scm.embed_texts(y), above.embed_texts(v), atol=1e-12)
    assert not hasattr(on, "n_components_"), "the parameter itself must stay unfitted"
    assert scm.on_.n_components_ == 3


def test_pairing_matters_to_scm_and_not_to_sm(labelled_views):
    x, y, labels = labelled_views
    rng = np.random.default_rng(0)
    shuffled = np.arange(90)
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        shuffled[members] = rng.permutation(members)
    sm = SemanticMatching().fit(x, y, labels)
    same = SemanticMatching().fit(x, y[shuffled], labels)  # other partners, same classes
    np.testing.assert_allclose(same.embed_texts(y), sm.embed_texts(y), atol=5e-3)
    scm = SemanticMatching(on=CCA(2)).fit(x, y, labels)
    other = SemanticMatching(on=CCA(2)).fit(x, y[shuffled], labels)
    assert np.abs(other.embed_texts(y) - scm.embed_texts(y)).max() > 0.05


def test_pairs_without_a_label_serve_the_correlation_only(labelled_views):
    x, y, labels = labelled_views
    unknown = np.arange(90) % 3 == 0
    partly = np.where(unknown, -1, labels)
    sm = SemanticMatching().fit(x, y, partly)
    fewer = SemanticMatching().fit(x[~unknown], y[~unknown], labels[~unknown])
    np.testing.assert_allclose(sm.embed_images(x), fewer.embed_images(x), atol=1e-12)
    np.testing.assert_array_equal(sm.classes_, [3, 5, 7])
    scm = SemanticMatching(on=CCA(2)).fit(x, y, partly)
    np.testing.assert_allclose(scm.on_.correlations_, CCA(2).fit(x, y).correlations_, atol=1e-12)


def test_a_class_that_is_missing_from_a_fold_is_missing_from_the_space(labelled_views):
    x, y, labels = labelled_views
    fold = labels != 5
    sm = SemanticMatching().fit(x[fold], y[fold], labels[fold], validation=(x, y, labels))
    np.testing.assert_array_equal(sm.classes_, [3, 7])
    assert sm.embed_images(x).shape == sm.embed_texts(y).shape == (90, 2)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"labels: semantic matching needs one class index a pair"),
        (np.zeros(90, int), "two classes or more"),
        (np.full(90, -1), "-1 means no label"),
        (np.zeros(89, int), r"labels: expected shape \(90,\)"),
        (np.linspace(0, 1, 90), "labels: expected whole numbers"),
        (np.array(["cat"] * 90), "labels: expected whole numbers"),
    ],
)
def test_labels_that_cannot_be_are_explained(labels, message, labelled_views):
    x, y, _ = labelled_views
    with pytest.raises(ValueError, match=message):
        SemanticMatching().fit(x, y, labels)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"reg": -1.0}, "reg: expected a number of at least 0"),
        ({"on": "cca"}, "on: expected None or an estimator"),
        ({"on": CCA}, "on: expected None or an estimator"),
        ({"space": "logit"}, 'space: expected one of "probability", "log"'),
        ({"temperature": 0.0}, "temperature: expected a"),
        ({"temperature": "hot"}, "temperature: expected a"),
        ({"max_iter": 0}, "max_iter: expected a whole number"),
    ],
)
def test_parameters_out_of_range_are_explained(parameters, message, labelled_views):
    with pytest.raises(ValueError, match=message):
        SemanticMatching(**parameters).fit(*labelled_views)


def test_from_paper(labelled_views):
    assert SemanticMatching.from_paper().fit(*labelled_views).on_ is None
