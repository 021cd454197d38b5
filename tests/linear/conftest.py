import numpy as np
import pytest


@pytest.fixture
def paired_views():
    """Two views of a common signal: ``make(n, p, q)`` returns images (n, p) and texts (n, q)."""

    def make(n, p, q, *, shared=3, noise=1.0, seed=0):
        rng = np.random.default_rng(seed)
        signal = rng.normal(size=(n, shared))
        images = signal @ rng.normal(size=(shared, p)) + noise * rng.normal(size=(n, p))
        texts = signal @ rng.normal(size=(shared, q)) + noise * rng.normal(size=(n, q))
        return 3 * images + rng.normal(size=p), texts * rng.uniform(0.1, 10, q)

    return make


@pytest.fixture
def exact_views():
    """Views whose sample canonical correlations are given: ``make(correlations, n, p, q)``."""

    def make(correlations, n, p, q, *, seed=0):
        rng = np.random.default_rng(seed)
        rho = np.asarray(correlations, dtype=float)
        centred = rng.normal(size=(n, p + q))
        basis, _ = np.linalg.qr(centred - centred.mean(axis=0))
        u, v = basis[:, :p], basis[:, p:].copy()
        k = len(rho)
        v[:, :k] = rho * u[:, :k] + np.sqrt(1 - rho**2) * v[:, :k]
        return u @ rng.normal(size=(p, p)), v @ rng.normal(size=(q, q))

    return make


@pytest.fixture
def same_up_to_sign():
    """Largest difference between paired columns, each free to be negated."""

    def difference(a, b):
        sign = np.sign(np.einsum("ij,ij->j", a, b))
        return float(np.abs(a - sign * b).max() / np.abs(a).max())

    return difference
