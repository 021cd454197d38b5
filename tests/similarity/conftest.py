"""What the tests of similarity share: views, and the definitions written out in plain loops."""

import math

import numpy as np
import pytest
import torch


def two_views(n, p, q, *, seed=0, dtype=torch.float64, shared=2):
    """Views with something in common, of unequal means and scales."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, shared))
    x, y = (common @ rng.standard_normal((shared, d)) + rng.standard_normal((n, d)) for d in (p, q))
    return torch.tensor(3 * x + 1, dtype=dtype), torch.tensor(0.5 * y - 2, dtype=dtype)


class Loops:
    """HSIC and CKA as they are defined, number by number."""

    @staticmethod
    def gram(view, kernel, sigma):
        n = len(view)
        k = [[0.0] * n for _ in range(n)]
        for i in range(n):
            for j in range(n):
                if kernel == "linear":
                    k[i][j] = math.fsum(a * b for a, b in zip(view[i], view[j], strict=True))
                else:
                    d = math.fsum((a - b) ** 2 for a, b in zip(view[i], view[j], strict=True))
                    k[i][j] = math.exp(-d / (2 * sigma**2))
        return k

    @staticmethod
    def biased(k, m):
        """tr(K H L H) / (n − 1)²."""
        n = len(k)
        h = [[(i == j) - 1 / n for j in range(n)] for i in range(n)]
        kh = [[math.fsum(k[i][t] * h[t][j] for t in range(n)) for j in range(n)] for i in range(n)]
        mh = [[math.fsum(m[i][t] * h[t][j] for t in range(n)) for j in range(n)] for i in range(n)]
        trace = math.fsum(kh[i][j] * mh[j][i] for i in range(n) for j in range(n))
        return trace / (n - 1) ** 2

    @staticmethod
    def unbiased(k, m):
        """The mean over all quadruples of different items (Gretton's U-statistic)."""
        n = len(k)
        one = two = three = 0.0
        for i in range(n):
            for j in range(n):
                if j == i:
                    continue
                one += k[i][j] * m[i][j]
                for q in range(n):
                    if q in (i, j):
                        continue
                    two += k[i][j] * m[i][q]
                    for r in range(n):
                        if r not in (i, j, q):
                            three += k[i][j] * m[q][r]
        pairs = n * (n - 1)
        triples = pairs * (n - 2)
        return one / pairs - 2 * two / triples + three / (triples * (n - 3))

    def hsic(self, x, y, kernel="linear", unbiased=False, sigma=(1.0, 1.0)):
        form = self.unbiased if unbiased else self.biased
        return form(*(self.gram(v.tolist(), kernel, s) for v, s in zip((x, y), sigma, strict=True)))

    def cka(self, x, y, kernel="linear", unbiased=False, sigma=(1.0, 1.0)):
        form = self.unbiased if unbiased else self.biased
        k, m = (self.gram(v.tolist(), kernel, s) for v, s in zip((x, y), sigma, strict=True))
        return form(k, m) / math.sqrt(form(k, k) * form(m, m))


@pytest.fixture(scope="session")
def views():
    return two_views


@pytest.fixture(scope="session")
def loops():
    return Loops()


@pytest.fixture(scope="session")
def orthogonal():
    """A random rotation (or reflection), uniform."""

    def draw(d, seed=0):
        square = np.random.default_rng(seed).standard_normal((d, d))
        q, r = np.linalg.qr(square)
        return torch.from_numpy(q * np.sign(np.diag(r)))

    return draw
