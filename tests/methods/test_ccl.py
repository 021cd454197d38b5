"""CCL: all pairs of the batch, classes, and the parts of a picture."""

import math

import numpy as np
import pytest
import torch

from vlalign_lib.methods import CCL
from vlalign_lib.methods.ccl import _Regions
from vlalign_lib.training import FitContext


def pictured(n=60, side=16, seed=0):
    """Pictures of three classes: where the ink is tells the class."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    images = 0.2 * rng.random((n, side, side))
    for image, label in zip(images, labels, strict=True):
        image[4 * label : 4 * label + 4] += rng.random((4, side))
    texts = np.eye(5)[labels] + 0.1 * rng.normal(size=(n, 5))
    return images.astype(np.float32), texts, labels


def started(data, **settings):
    common = {"n_components": 6, "hidden": (10,), "channels": 3, "dropout": 0.0, "epochs": 1}
    return CCL(**common | settings, random_state=0).fit(*data)


def vectors(n=60):
    images, texts, labels = pictured(n)
    return images.reshape(n, -1), texts, labels


def moment():
    return FitContext(1, 1, 0.5, True, np.random.default_rng(0))


@pytest.mark.parametrize(("margin", "class_weight"), [(1.0, 1.0), (0.4, 3.0), (1.8, 0.0)])
def test_the_value_is_that_of_slow_loops(margin, class_weight):
    data = vectors()
    method = started(data, margin=margin, class_weight=class_weight)
    network = method.network_.double()
    x, y = torch.tensor(data[0][:7]).double(), torch.tensor(data[1][:7])
    labels = torch.tensor([0, 1, 1, 2, 0, -1, -1])
    value = method._loss(network, x, y, labels, moment()).item()
    u, v = (code.detach().numpy() for code in network(x, y))
    u, v = (code / np.linalg.norm(code, axis=1, keepdims=True) for code in (u, v))
    total = 0.0
    for i in range(7):
        for j in range(7):
            distance = math.dist(u[i], v[j])
            alike = i == j or labels[i] == labels[j] >= 0
            total += distance**2 if alike else max(0.0, margin - distance) ** 2
    expected = total / (2 * 7)
    named = 0.0
    for codes, head in ((u, network.image_classes), (v, network.text_classes)):
        weight, bias = head.weight.detach().numpy(), head.bias.detach().numpy()
        for i in range(5):  # the last two have no class
            logits = weight @ codes[i] + bias
            named -= logits[labels[i]] - math.log(np.exp(logits).sum())
    assert value == pytest.approx(expected + class_weight * named / 5, rel=1e-9)


def test_each_view_has_a_classifier_of_its_own():
    method = started(vectors())
    assert method.network_.image_classes is not method.network_.text_classes
    assert method.network_.image_classes.out_features == 3


@pytest.mark.parametrize(("shape", "grid"), [((16, 16), 2), ((12, 18), 3), ((17, 11), 2)])
def test_regions_are_the_cells_of_the_grid_row_by_row(shape, grid):
    seen = []

    class Keeps(torch.nn.Module):
        def forward(self, cells):
            seen.append(cells)
            return cells.flatten(1)

    height, width = shape[0] // grid, shape[1] // grid
    pictures = torch.arange(2.0 * shape[0] * shape[1]).view(2, *shape)
    mean = _Regions(shape, grid, Keeps())(pictures)
    expected = [
        picture[row * height : (row + 1) * height, column * width : (column + 1) * width]
        for picture in pictures
        for row in range(grid)
        for column in range(grid)
    ]
    assert torch.equal(seen[0], torch.stack(expected))
    by_picture = torch.stack(expected).view(2, grid**2, -1)
    torch.testing.assert_close(mean, by_picture.mean(1))


def test_parts_do_not_know_their_place_and_the_whole_does():
    images, texts, labels = pictured()
    method = started((images, texts, labels), regions=2)
    picture = torch.tensor(images[:3])
    moved = torch.cat([picture[:, 8:], picture[:, :8]], dim=1)
    grains = method.network_.images
    with torch.no_grad():
        torch.testing.assert_close(grains.fine(picture), grains.fine(moved))
        assert not torch.allclose(grains.coarse(picture), grains.coarse(moved), atol=1e-3)
        assert not torch.allclose(grains(picture), grains(moved), atol=1e-3)


def test_both_grains_are_trained():
    images, texts, labels = pictured()
    method = started((images, texts, labels), regions=2)
    network = method.network_
    x, y = torch.tensor(images), torch.tensor(texts, dtype=torch.float32)
    network.zero_grad()
    method._loss(network, x, y, torch.tensor(labels), moment()).backward()
    for part in ("coarse", "fine", "joint"):
        weights = getattr(network.images, part).parameters()
        assert max(weight.grad.abs().max() for weight in weights) > 0, part


def test_without_regions_there_is_only_the_whole():
    names = [name for name, _ in started(pictured()).network_.named_parameters()]
    assert not any("fine" in name or "joint" in name for name in names)


@pytest.mark.parametrize(
    ("data", "settings", "message"),
    [
        (pictured, {"regions": 1}, "0 or a whole number from 2"),
        (pictured, {"regions": True}, "0 or a whole number from 2"),
        (pictured, {"regions": 2.0}, "0 or a whole number from 2"),
        (pictured, {"regions": 3}, "at least 8 by 8"),
        (vectors, {"regions": 2}, "have no parts"),
        (vectors, {"margin": -1.0}, "margin"),
    ],
)
def test_settings_of_its_own_are_checked(data, settings, message):
    with pytest.raises(ValueError, match=message):
        started(data(), **settings)


def test_with_regions_it_saves_and_loads_too(tmp_path):
    images, texts, labels = pictured()
    method = started((images, texts, labels), regions=2)
    method.save(tmp_path / "ccl")
    again = CCL.load(tmp_path / "ccl")
    np.testing.assert_array_equal(again.embed_images(images), method.embed_images(images))
