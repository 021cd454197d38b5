"""From original pictures and texts to features, with a stand-in for the network."""

import json
import os
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vlalign_lib.data import (
    DataUnavailable,
    available,
    load_nus_wide_10k,
    load_pascal_sentences,
    load_wikipedia_deep,
    make_features,
    synthetic_twin,
    verify,
)
from vlalign_lib.data._registry import SETS
from vlalign_lib.data.wikipedia import published_pairs
from vlalign_lib.experiments import _originals as originals_module
from vlalign_lib.experiments._data import add_parser

CLASSES = SETS["pascal_sentences"].features.label_names


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path / "cache"))


def colour_of(i):
    return (i % 251, (i * 7) % 241, (i * 13) % 239)


def picture_name(i):
    return f"{CLASSES[i % 20]}/2008_{i:06d}.jpg"


def sentence(i):
    """Fifteen words, of which the common ones are common and the rare ones rare."""
    rare = [f"word{(i * 37 + j * j) % 1400}" for j in range(12)]
    return [f"A {CLASSES[i % 20]} here", "and " + " ".join(rare)]


def see(pictures):
    """Stand in for the network: a picture of one colour becomes that colour, many times."""
    colours = np.array([picture.getpixel((0, 0)) for picture in pictures], dtype=np.float64)
    return np.tile(colours, 1366)[:, :4096] + np.arange(4096)


see.description = "first pixels"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A thousand small pictures in folders by class, and their sentences."""
    folder = tmp_path_factory.mktemp("originals")
    entries = {}
    for i in range(1000):
        path = folder / "images" / picture_name(i)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2), colour_of(i)).save(path, format="PNG")
        entries[path.name] = {"category": CLASSES[i % 20], "captions": sentence(i)}
    (folder / "sentences.json").write_text(json.dumps(entries))
    lines = [f"{picture_name(i)}\t{CLASSES[i % 20].upper()}\t{' '.join(sentence(i))}\n"
             for i in range(1000)]  # fmt: skip
    (folder / "pairs.tsv").write_text("".join(lines))
    return folder


def make(originals, **arguments):
    settings = {"texts": originals / "sentences.json", "extractor": see, "progress": False}
    settings |= arguments
    return make_features(
        "pascal_sentences", originals / "images", settings.pop("texts"), **settings
    )


@pytest.fixture(scope="module")
def made(originals, tmp_path_factory):
    return make(originals, output=tmp_path_factory.mktemp("made") / "out")


def number_of(name):
    return int(name.removesuffix(".jpg")[-6:])


def test_rows_are_the_pictures_classes_and_words(made):
    ds = load_pascal_sentences(root=made)
    assert ds.name == "pascal_sentences"
    vocabulary = json.loads((made / "meta.json").read_text())["vocabulary"]
    for row in (0, 399, 800, 999):
        i = number_of(ds.ids[row])
        assert ds.label_names[ds.labels[row]] == CLASSES[i % 20]
        expected = see([Image.new("RGB", (1, 1), colour_of(i))])[0]
        np.testing.assert_array_equal(ds.images[row], expected.astype(np.float32))
        text = " ".join(sentence(i)).upper().split()
        np.testing.assert_array_equal(ds.texts[row], [text.count(word) for word in vocabulary])
    assert sorted(map(number_of, ds.ids)) == list(range(1000))


def test_the_vocabulary_is_that_of_the_training_texts_alone(made):
    ds = load_pascal_sentences(root=made)
    vocabulary = json.loads((made / "meta.json").read_text())["vocabulary"]
    counts = {}
    for name in ds.split("train").ids:
        for word in " ".join(sentence(number_of(name))).upper().split():
            counts[word] = counts.get(word, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    assert [word for word, _ in ranked[:1000]] == vocabulary
    everywhere = {w for i in range(1000) for w in " ".join(sentence(i)).upper().split()}
    assert len(everywhere) > 1000
    assert vocabulary[0] in ("A", "HERE", "AND")


def test_the_cut_is_the_stated_one_and_recorded(made):
    ds = load_pascal_sentences(root=made)
    for part, each in (("train", 40), ("val", 5), ("test", 5)):
        assert (np.bincount(ds.split(part).labels) == each).all()
    record = json.loads((made / "meta.json").read_text())
    assert record["splits"] == {"train": 800, "val": 100, "test": 100}
    assert "at random, each class in proportion" in record["made"]["splits"]
    assert record["made"]["images"] == "first pixels"
    assert "1000 most frequent words" in record["made"]["texts"]
    assert "vlalign_lib" in record["made"]["with"]
    assert record["twin"] is False
    assert sorted(path.name for path in made.iterdir() if path.name[0] != ".") == [
        "images.npy", "labels.npy", "meta.json", "texts.npy"
    ]  # fmt: skip


def test_lines_give_the_same_as_the_published_file(originals, made, tmp_path):
    folder = make(originals, texts=originals / "pairs.tsv", output=tmp_path / "out", batch_size=7)
    ours, theirs = load_pascal_sentences(root=folder), load_pascal_sentences(root=made)
    assert [Path(name).name for name in ours.ids] == list(theirs.ids)
    np.testing.assert_array_equal(ours.images, theirs.images)
    np.testing.assert_array_equal(ours.texts, theirs.texts)


def test_the_place_in_the_cache_is_where_the_loader_looks(originals, tmp_path):
    folder = make(originals)
    assert folder == tmp_path / "cache" / "pascal_sentences"
    assert available("pascal_sentences")
    assert {state.state for state in verify("pascal_sentences")} == {"ok"}
    assert len(load_pascal_sentences()) == 1000
    with pytest.raises(DataUnavailable, match="holds features already"):
        make(originals)


def test_a_split_of_ones_own(originals, tmp_path):
    parts = ["test"] * 100 + ["val"] * 100 + ["train"] * 800
    lines = [f"2008_{i:06d}.jpg\t{part}\n" for i, part in enumerate(parts)]
    split = tmp_path / "parts.tsv"
    split.write_text("".join(lines))
    folder = make(originals, split=split, output=tmp_path / "out")
    ds = load_pascal_sentences(root=folder)
    assert sorted(map(number_of, ds.split("test").ids)) == list(range(100))
    assert sorted(map(number_of, ds.split("val").ids)) == list(range(100, 200))
    assert "parts.tsv" in json.loads((folder / "meta.json").read_text())["made"]["splits"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["2008_000001.jpg\ttrain"], "'train': 1, 'val': 0, 'test': 0}, expected 800 train"),
        (["2008_000001.jpg\tdev"], "line 1: .* whose part"),
        (["nothing.jpg\ttest"], "line 1: .* whose picture"),
        (["2008_000001.jpg\ttest", "", "2008_000001.jpg\ttest"], "line 3: .* named before"),
        (["2008_000001.jpg test"], "line 1: expected picture and part with a tab"),
    ],
)
def test_splits_that_cannot_be_are_explained(lines, message, originals, tmp_path):
    (tmp_path / "split").write_text("\n".join(lines))
    with pytest.raises(DataUnavailable, match=message):
        make(originals, split=tmp_path / "split")
    with pytest.raises(DataUnavailable, match="cannot be read"):
        make(originals, split=tmp_path / "none")


class Stops:
    """See some pictures, then stop as a person or a full disk would."""

    description = "first pixels"

    def __init__(self, after):
        self.left = after
        self.seen = 0

    def __call__(self, pictures):
        if self.left == 0:
            raise KeyboardInterrupt
        self.left -= 1
        self.seen += len(pictures)
        return see(pictures)


def test_an_interrupted_run_continues(originals, made, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(originals, output=output, extractor=Stops(3), batch_size=100)
    with pytest.raises(DataUnavailable, match="is not there"):
        load_pascal_sentences(root=output)
    rest = Stops(-1)
    make(originals, output=output, extractor=rest, batch_size=64)
    assert rest.seen == 700
    for file in ("images.npy", "texts.npy", "labels.npy", "meta.json"):
        assert (output / file).read_bytes() == (made / file).read_bytes()


def test_work_on_other_pictures_or_by_another_network_does_not_count(originals, tmp_path):
    output, own = tmp_path / "out", tmp_path / "own"
    shutil.copytree(originals, own)
    with pytest.raises(KeyboardInterrupt):
        make(own, output=output, extractor=Stops(3), batch_size=100)
    other = Stops(2)
    other.description = "another network"
    with pytest.raises(KeyboardInterrupt):
        make(own, output=output, extractor=other, batch_size=100)
    assert other.seen == 200
    Image.new("RGB", (9, 9)).save(own / "images" / picture_name(5), format="PNG")
    os.utime(own / "images" / picture_name(5), ns=(1, 1))
    rest = Stops(-1)
    rest.description = "another network"
    make(own, output=output, extractor=rest, batch_size=100)
    assert rest.seen == 1000


def test_a_killed_run_continues(originals, made, tmp_path):
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_features import see
from vlalign_lib.data import make_features
class Dies:
    description = "first pixels"
    left = 4
    def __call__(self, pictures):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return see(pictures)
make_features("pascal_sentences", {str(originals / "images")!r},
    {str(originals / "sentences.json")!r}, output={str(tmp_path / "out")!r},
    batch_size=150, extractor=Dies(), progress=False)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False)
    assert done.returncode == -signal.SIGKILL
    rest = Stops(-1)
    make(originals, output=tmp_path / "out", extractor=rest)
    assert rest.seen == 550
    np.testing.assert_array_equal(
        np.load(tmp_path / "out" / "images.npy"), np.load(made / "images.npy")
    )


def test_a_damaged_count_means_from_the_beginning(originals, tmp_path):
    output = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        make(originals, output=output, extractor=Stops(3), batch_size=100)
    (output / ".done.json").write_text("{")
    rest = Stops(-1)
    make(originals, output=output, extractor=rest)
    assert rest.seen == 1000


def test_a_picture_that_cannot_be_read_is_named_and_can_be_replaced(originals, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(originals, own)
    bad = own / "images" / picture_name(7)
    sound = bad.read_bytes()
    for content in (b"no picture at all", sound[: len(sound) // 2], b""):
        bad.write_bytes(content)
        with pytest.raises(DataUnavailable, match=r"2008_000007\.jpg: is no picture that can be"):
            make(own)
    bad.write_bytes(sound)
    assert make(own).is_dir()


def test_grey_pictures_palettes_and_transparency_become_colours(originals, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(originals, own)
    for i, mode in enumerate(("L", "P", "RGBA", "1", "CMYK", "I;16")):
        kind = "TIFF" if mode == "CMYK" else "PNG"
        Image.new(mode, (3, 2)).save(own / "images" / picture_name(i), format=kind)
    modes = set()

    def look(pictures):
        modes.update(picture.mode for picture in pictures)
        return see(pictures)

    make(own, extractor=look)
    assert modes == {"RGB"}


def drop(folder, i):
    (folder / picture_name(i)).unlink()


def double(folder, i):
    (folder / "again").mkdir()
    shutil.copy(folder / picture_name(i), folder / "again")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: drop(f, 3), r"1 of 1,000 pictures are not there, such as 2008_000003\.jpg"),
        (lambda f: [drop(f, i) for i in range(20)], "20 of 1,000 pictures .*, …; they may lie"),
        (
            lambda f: double(f, 4),
            "such as 2008_000004.jpg: again/2008_000004.jpg and bottle/2008_000004.jpg",
        ),
        (shutil.rmtree, "no such folder of pictures"),
    ],
)
def test_pictures_that_are_not_there_are_named_before_the_network_runs(
    damage, message, originals, tmp_path
):
    own = tmp_path / "own"
    shutil.copytree(originals, own)
    damage(own / "images")
    with pytest.raises(DataUnavailable, match=message):
        make(own, extractor=Stops(0))


def test_pictures_are_found_by_any_way_to_name_them(originals):
    folder = originals / "images"
    i = 27
    path = folder / picture_name(i)
    plain = picture_name(i)
    for name in (plain, path.name, path.stem, plain.removesuffix(".jpg"), plain.replace("/", "\\")):
        assert originals_module.find_pictures(folder, [name]) == [path]


def altered(text, change):
    entries = json.loads(text)
    change(entries)
    return json.dumps(entries)


BAD_TEXTS = [
    ("t.json", lambda t: "[1]", 'expected {"picture.jpg"'),
    ("t.json", lambda t: t[:-9], 'expected {"picture.jpg"'),
    ("t.json", lambda t: altered(t, lambda e: e.popitem()), "999 pairs, expected 1,000"),
    (
        "t.json",
        lambda t: altered(t, lambda e: e["2008_000003.jpg"].update(category="unicorn")),
        "1 unknown classes, such as unicorn; expected aeroplane",
    ),
    ("t.json", lambda t: altered(t, lambda e: e["2008_000003.jpg"].pop("captions")), "KeyError"),
    (
        "t.json",
        lambda t: altered(t, lambda e: e["2008_000003.jpg"].update(captions="one")),
        "the captions of 2008_000003.jpg are no list",
    ),
    (
        "t.json",
        lambda t: altered(t, lambda e: [v.update(captions=["one"]) for v in e.values()]),
        "only 1 different words, 1,000 are needed",
    ),
    (
        "t.json",
        lambda t: altered(t, lambda e: [v.update(category="cat") for v in e.values()]),
        "no pair of aeroplane, bicycle",
    ),
    ("t.tsv", lambda t: "2008_000003.jpg\tcat", "line 1: expected picture, class and text"),
    ("t.tsv", lambda t: "a\tcat\tx\n\na\tcat\ty\n", "1 pictures are named more than once"),
    ("t.tsv", lambda t: "", "0 pairs, expected 1,000: 800 train, 100 val, 100 test"),
]


@pytest.mark.parametrize(("name", "write", "message"), BAD_TEXTS)
def test_texts_that_cannot_be_are_explained(name, write, message, originals, tmp_path):
    (tmp_path / name).write_text(write((originals / "sentences.json").read_text()))
    with pytest.raises(DataUnavailable, match=message):
        make(originals, texts=tmp_path / name, extractor=Stops(0))


def test_other_arguments_that_cannot_be_are_explained(originals):
    with pytest.raises(ValueError, match="its features are not made"):
        make_features("digits", originals, originals)
    with pytest.raises(ValueError, match="expected one of digits"):
        make_features("coco", originals, originals)
    for size in (0, 2.0, True):
        with pytest.raises(ValueError, match="batch_size: expected a whole number"):
            make(originals, batch_size=size)
    with pytest.raises(DataUnavailable, match="is a folder; for pascal_sentences the texts are"):
        make(originals, texts=originals)
    with pytest.raises(ValueError, match=r"extractor: expected \(32, 4096\) for 32 pictures"):
        make(originals, extractor=lambda pictures: np.zeros((len(pictures), 7)))
    with pytest.raises(ValueError, match="NaN or infinity"):
        make(originals, extractor=lambda pictures: np.full((len(pictures), 4096), np.nan))


@pytest.fixture
def wikipedia_originals(tmp_path, monkeypatch):
    """The published layout, small, for a twin of the published lists."""
    lists = synthetic_twin("wikipedia", tmp_path / "lists")
    monkeypatch.setattr(originals_module, "download", lambda name: (lists / "raw_features.mat",))
    texts, pictures, labels = published_pairs(lists)
    names = SETS["wikipedia_deep"].features.label_names
    folder = tmp_path / "wikipedia_dataset"
    (folder / "texts").mkdir(parents=True)
    pixel = tmp_path / "pixel.png"
    Image.new("RGB", (1, 1), (9, 8, 7)).save(pixel)
    for i, (text, picture, label) in enumerate(zip(texts, pictures, labels, strict=True)):
        where = folder / "images" / names[label]
        where.mkdir(parents=True, exist_ok=True)
        os.link(pixel, where / f"{picture}.jpg")
        some = " ".join(f"w{(i * 11 + j * j) % 4000}" for j in range(9))
        (folder / "texts" / f"{text}.xml").write_text(
            f'<?xml version="1.0"?><article name="left out"><text>Caf&eacute; &amp; {some}</text>'
            "</article>",
            encoding="utf-8",
        )
    return folder


def test_wikipedia_from_its_published_folders(wikipedia_originals, tmp_path):
    folder = make_features(
        "wikipedia_deep", wikipedia_originals / "images", wikipedia_originals / "texts",
        extractor=see, progress=False, batch_size=512, output=tmp_path / "out",
    )  # fmt: skip
    ds = load_wikipedia_deep(root=folder)
    assert ds.images.shape == (2866, 4096)
    assert ds.texts.shape == (2866, 3000)
    _, pictures, labels = published_pairs(tmp_path / "lists")
    assert list(ds.ids[:2173]) == pictures[:2173]  # the published training pairs, in their order
    by_picture = dict(zip(pictures, labels.tolist(), strict=True))
    assert ds.labels.tolist() == [by_picture[name] for name in ds.ids]
    assert set(ds.ids[2173:]) == set(pictures[2173:])
    val = np.bincount(ds.split("val").labels, minlength=10)
    exact = np.bincount(labels[2173:], minlength=10) * 231 / 693
    assert (np.abs(val - exact) < 1).all()
    record = json.loads((folder / "meta.json").read_text())
    assert "published" in record["made"]["splits"]
    words = record["vocabulary"]
    assert {"CAFÉ"} <= set(words[:3])
    assert not {"ARTICLE", "LEFT", "NAME", "TEXT", "AMP", "XML"} & set(words)


def test_wikipedia_texts_that_are_not_there_are_named(wikipedia_originals):
    gone = sorted((wikipedia_originals / "texts").iterdir())[5]
    gone.unlink()
    with pytest.raises(
        DataUnavailable, match=f"1 of 2866 texts are not there, such as {gone.name}"
    ):
        make_features("wikipedia_deep", wikipedia_originals / "images",
                      wikipedia_originals / "texts", extractor=see)  # fmt: skip


def test_ten_thousand_pictures_by_lines(tmp_path):
    names = SETS["nus_wide_10k"].features.label_names
    pixel = tmp_path / "pixel.jpg"
    Image.new("RGB", (1, 1)).save(pixel)
    lines = []
    for i in range(10_000):
        where = tmp_path / "images" / f"concept{i % 7}"
        where.mkdir(parents=True, exist_ok=True)
        os.link(pixel, where / f"{i:05d}.jpg")
        tags = " ".join(f"tag{(i * 3 + j * j) % 1500}" for j in range(5))
        lines.append(f"concept{i % 7}\\{i:05d}.jpg\t{names[i % 10]}\t{tags}")
    (tmp_path / "pairs.tsv").write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8")
    folder = make_features(
        "nus_wide_10k", tmp_path / "images", tmp_path / "pairs.tsv",
        extractor=lambda pictures: np.zeros((len(pictures), 4096)), progress=False, batch_size=1000,
    )  # fmt: skip
    ds = load_nus_wide_10k(root=folder)
    for part, each in (("train", 800), ("val", 100), ("test", 100)):
        assert (np.bincount(ds.split(part).labels) == each).all()
    assert not any(
        "\r" in word for word in json.loads((folder / "meta.json").read_text())["vocabulary"]
    )


def test_published_sentences_of_pascal(tmp_path):
    mirror = os.environ.get("VLALIGN_MIRROR", "")
    published = Path(mirror) / "pascal_sentences" / "pascal_sentences.json"
    if not mirror or not published.is_file():
        pytest.skip("the published sentences are not in a mirror that is a folder")
    for name in json.loads(published.read_text()):
        Image.new("RGB", (1, 1)).save(tmp_path / name)
    folder = make_features("pascal_sentences", tmp_path, published, extractor=see, progress=False)
    ds = load_pascal_sentences(root=folder)
    for part, each in (("train", 40), ("val", 5), ("test", 5)):
        assert (np.bincount(ds.split(part).labels) == each).all()
    vocabulary = json.loads((folder / "meta.json").read_text())["vocabulary"]
    assert vocabulary[:2] == ["A", "THE"]
    assert {"DOG", "TRAIN", "BICYCLE"} <= set(vocabulary)


# the network itself


@pytest.fixture
def fake_torchvision(monkeypatch, tmp_path):
    """Modules that look like torchvision, with a VGG-19 of a few numbers."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)

    class Vgg(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.features = torch.nn.Conv2d(3, 2, 3)
            self.classifier = torch.nn.Sequential(
                torch.nn.Linear(8, 6), torch.nn.ReLU(True), torch.nn.Dropout(),
                torch.nn.Linear(6, 4096), torch.nn.ReLU(True), torch.nn.Dropout(),
                torch.nn.Linear(4096, 10),
            )  # fmt: skip

        def forward(self, x):
            return self.classifier(self.features(x).flatten(1))

    network = Vgg()

    class Weights:
        url = "https://localhost/vgg19-dcbb9e9d.pth"

        def __str__(self):
            return "VGG19_Weights.IMAGENET1K_V1"

        def transforms(self):
            def prepare(picture):
                assert picture.mode == "RGB"
                array = np.asarray(picture.resize((4, 4)), dtype=np.float32) / 255
                return torch.from_numpy(array).permute(2, 0, 1)

            return prepare

    asked = []

    def vgg19(*, weights):
        asked.append(weights)
        return network

    module, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    module.__version__ = "0.0"
    models.vgg19 = vgg19
    models.VGG19_Weights = types.SimpleNamespace(IMAGENET1K_V1=Weights())
    module.models = models
    monkeypatch.setitem(sys.modules, "torchvision", module)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return types.SimpleNamespace(network=network, asked=asked, models=models, torch=torch)


def test_the_network_is_cut_after_the_relu_of_fc7_and_at_rest(fake_torchvision):
    from vlalign_lib.experiments.features import Vgg19Fc7

    torch, network = fake_torchvision.torch, fake_torchvision.network
    fc6, fc7 = network.classifier[0], network.classifier[3]
    vgg = Vgg19Fc7("cpu")
    assert fake_torchvision.asked == [fake_torchvision.models.VGG19_Weights.IMAGENET1K_V1]
    pictures = [Image.new("RGB", (5, 5), colour_of(i)) for i in (3, 900)]
    found = vgg(pictures)
    assert (found.shape, found.dtype) == ((2, 4096), np.float32)
    prepare = fake_torchvision.models.VGG19_Weights.IMAGENET1K_V1.transforms()
    with torch.no_grad():
        hidden = network.features(torch.stack([prepare(p) for p in pictures])).flatten(1)
        expected = torch.relu(fc7(torch.relu(fc6(hidden))))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(found, vgg(pictures))  # no dropout
    assert found.min() == 0
    assert "fc7 after ReLU, torchvision 0.0, weights VGG19_Weights.IMAGENET1K_V1" in vgg.description


def test_the_default_extractor_is_that_network(fake_torchvision, originals, tmp_path):
    folder = make(originals, extractor=None, output=tmp_path / "out")
    record = json.loads((folder / "meta.json").read_text())
    assert record["made"]["images"].startswith("VGG-19 fc7 after ReLU")
    assert load_pascal_sentences(root=folder).images.std() > 0


def test_without_torchvision_it_says_what_to_install(originals, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(DataUnavailable, match=r'pip install "vlalign-lib\[features\]"'):
        make(originals, extractor=None)


def test_weights_that_cannot_be_had_are_explained(
    fake_torchvision, originals, monkeypatch, tmp_path
):
    monkeypatch.setenv("VLALIGN_OFFLINE", "1")
    with pytest.raises(DataUnavailable, match="VLALIGN_OFFLINE=1 forbids the network") as told:
        make(originals, extractor=None)
    kept = tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-dcbb9e9d.pth"
    assert str(kept) in str(told.value)
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"weights")
    assert make(originals, extractor=None, output=tmp_path / "kept").is_dir()
    monkeypatch.delenv("VLALIGN_OFFLINE")

    def no_network(*, weights):
        raise OSError("no route to host")

    monkeypatch.setattr(fake_torchvision.models, "vgg19", no_network)
    with pytest.raises(DataUnavailable, match="cannot be had: no route to host"):
        make(originals, extractor=None)


def test_too_large_a_batch_says_so(fake_torchvision, originals, monkeypatch):
    def full(self, x):
        raise fake_torchvision.torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(type(fake_torchvision.network), "forward", full)
    with pytest.raises(ValueError, match=r"batch size 32: too many pictures .* try half"):
        make(originals, extractor=None)


@pytest.mark.parametrize("device", ["cuda:99", "abacus", 3])
def test_devices_that_are_not_there_are_explained(device, fake_torchvision, originals):
    with pytest.raises(ValueError, match=r"device: .* cannot be used here"):
        make(originals, extractor=None, device=device)


# the command


@pytest.fixture
def run():
    import argparse

    def call(*arguments):
        parser = argparse.ArgumentParser()
        add_parser(parser.add_subparsers())
        parsed = parser.parse_args(["data", "features", *map(str, arguments)])
        return parsed.run(parsed)

    return call


def test_command_makes_what_the_loader_reads(run, fake_torchvision, originals, capsys):
    status = run(
        "pascal_sentences", "--images", originals / "images", "--texts",
        originals / "sentences.json", "--batch-size", 100, "--device", "cpu",
    )  # fmt: skip
    out, err = capsys.readouterr()
    assert status == 0
    assert len(load_pascal_sentences()) == 1000
    assert Path(out.strip()).name == "pascal_sentences"
    assert "pascal_sentences: pictures" in err
    assert "1000/1000" in err


def test_command_says_what_is_wrong(run, originals, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    words = ["pascal_sentences", "--images", originals / "images", "--texts"]
    assert run(*words, originals / "sentences.json") == 1
    assert "vlalign-lib[features]" in capsys.readouterr().err
    assert run(*words, originals / "sentences.json", "--batch-size", 0) == 2
    assert "batch_size" in capsys.readouterr().err
    assert run(*words, "nothing.tsv") == 1
    assert "nothing.tsv: cannot be read" in capsys.readouterr().err
    for bad in (["digits", *words[1:], "x"], ["pascal_sentences"]):
        with pytest.raises(SystemExit):
            run(*bad)
