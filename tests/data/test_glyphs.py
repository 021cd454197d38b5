"""Characters, names, families, splits."""

import importlib.util
import unicodedata
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from vlalign_lib.data import DataUnavailable, _cache, glyphs, load_glyphs
from vlalign_lib.data import _glyph_manifest as manifest
from vlalign_lib.data._tfidf import words
from vlalign_lib.data.glyphs import cached_pictures, draw_pictures

TOOL = Path(__file__).resolve().parents[2] / "tools" / "make_glyph_manifest.py"
SPEC = importlib.util.spec_from_file_location("make_glyph_manifest", TOOL)
make_glyph_manifest = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(make_glyph_manifest)

SPLITS = ("random", "compositional", "typeface")
FAMILIES = (
    "ARABIC ARMENIAN BLACK BOX BRAILLE CANADIAN CYRILLIC DOMINO GEORGIAN GREEK HEBREW HEXAGRAM "
    "LATIN MATHEMATICAL MODIFIER TETRAGRAM WHITE"
)


@pytest.fixture(scope="module", autouse=True)
def _cache_folder(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLALIGN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def mono():
    return draw_pictures("mono")


@pytest.fixture
def own_cache(tmp_path, monkeypatch, mono):
    """A cache of its own, and a pen that need not draw the same pictures again and again."""
    monkeypatch.setenv("VLALIGN_CACHE", str(tmp_path))
    monkeypatch.setattr(manifest, "render", lambda face, codes: mono.copy())
    return tmp_path


def test_the_shipped_list_follows_from_the_fonts():
    shipped, derived = manifest.load_manifest(), make_glyph_manifest.derive()
    if shipped.facts["fonts"] != derived.facts["fonts"]:
        pytest.skip("matplotlib has other fonts here than those the list was made from")
    for face, digest in shipped.facts["pictures"].items():
        if derived.facts["pictures"][face] != digest:  # another rounding: within the tolerance
            off = np.abs(derived.ink[face] - shipped.ink[face]).max()
            assert off <= shipped.facts["ink_tolerance"]
            derived.ink[face][:] = shipped.ink[face]
            derived.facts["pictures"][face] = digest
    assert make_glyph_manifest.to_text(derived) == make_glyph_manifest.to_text(shipped)


def test_manifest_survives_writing_and_reading():
    shipped = manifest.load_manifest()
    again = manifest.GlyphManifest.from_text(make_glyph_manifest.to_text(shipped))
    assert make_glyph_manifest.to_text(again) == make_glyph_manifest.to_text(shipped)
    with pytest.raises(ValueError, match=r"glyphs\.tsv: expected the columns"):
        manifest.GlyphManifest.from_text("# {}\ncode\talike\n0041\t0041\n")


def test_characters_are_named_visible_and_in_order():
    ds = load_glyphs()
    codes = [ord(character) for character in ds.ids]
    assert codes == sorted(set(codes))
    assert len(ds) == 5573
    known = manifest.open_font("sans").get_charmap()
    for character, name in zip(ds.ids, ds.captions, strict=True):
        assert unicodedata.name(character) == name
        assert unicodedata.category(character) not in {"Zs", "Zl", "Zp", "Cf", "Mn", "Me"}
        assert ord(character) in known
    assert ds.images.any(axis=(1, 2)).all()


def test_types_and_ranges():
    ds = load_glyphs()
    assert ds.images.shape == (5573, 32, 32)
    assert ds.images.dtype == ds.texts.dtype == np.float32
    assert ds.images.min() == 0
    assert ds.images.max() == 1
    assert np.isfinite(ds.texts).all()
    assert ds.labels.dtype == np.int64


def test_seventeen_families_of_sixty_or_more():
    ds = load_glyphs()
    assert ds.label_names == tuple(FAMILIES.split())
    first = Counter(name.split()[0] for name in ds.captions)
    for label, name in enumerate(ds.label_names):
        assert first[name] >= 60
        assert (ds.labels == label).sum() == first[name]
    assert max(count for word, count in first.items() if word not in ds.label_names) < 60
    assert (ds.labels == -1).sum() == 5573 - 3843


def test_dropping_the_family_word_takes_it_out_of_captions_and_vocabulary():
    full, dropped = load_glyphs(), load_glyphs(drop_family_word=True)
    for label, long, short in zip(full.labels, full.captions, dropped.captions, strict=True):
        if label < 0:
            assert short == long
        else:
            assert f"{full.label_names[label]} {short}" == long
            assert full.label_names[label] not in words(short)
    assert "CANADIAN" in full.encoder.vocabulary
    assert "CANADIAN" not in dropped.encoder.vocabulary
    np.testing.assert_array_equal(full.images, dropped.images)
    assert full.splits["test"].tolist() == dropped.splits["test"].tolist()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("families_only", [False, True])
@pytest.mark.parametrize("seed", [None, 5])
def test_no_look_alike_is_in_two_parts(split, families_only, seed):
    ds = load_glyphs(split, families_only=families_only, seed=seed)
    seen = {}
    for part in ("train", "val", "test"):
        for picture in ds.split(part).images:
            assert seen.setdefault(picture.tobytes(), part) == part
    rows = np.concatenate([ds.splits[part] for part in ("train", "val", "test")])
    assert sorted(rows.tolist()) == list(range(len(ds)))
    if families_only:
        assert (ds.labels >= 0).all()


def test_look_alikes_equal_a_slow_comparison():
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (6, 32, 32))
    pictures = base[rng.integers(0, 6, 40)] + rng.integers(0, 6, (40, 32, 32))
    pictures[3] = pictures[7] + 8
    pictures[5, 0, 0] += 14
    pictures = np.clip(pictures, 0, 255).astype(np.uint8)
    group = list(range(40))
    for _ in range(40):
        for i in range(40):
            for j in range(40):
                if np.abs(pictures[i].astype(int) - pictures[j]).max() <= 8:
                    group[i] = min(group[i], group[j])
    assert make_glyph_manifest.lookalikes(pictures).tolist() == group
    assert len(set(group)) < 40


def test_famous_look_alikes_are_known():
    shipped = manifest.load_manifest()
    first = dict(zip(shipped.codes.tolist(), shipped.alike.tolist(), strict=True))
    assert first[ord("Α")] == first[ord("А")] == ord("A")  # Greek, Cyrillic, Latin
    assert first[ord("B")] != first[ord("A")]
    assert first[ord("Ё")] == ord("Ë")


@pytest.mark.parametrize("families_only", [False, True])
@pytest.mark.parametrize("drop", [False, True])
@pytest.mark.parametrize("seed", [None, 0, 11])
def test_compositional_names_are_new_combinations_of_known_words(families_only, drop, seed):
    ds = load_glyphs("compositional", drop, families_only=families_only, seed=seed)
    train = [set(words(caption)) for caption in ds.split("train").captions]
    known = set().union(*train)
    met = {pair for bag in train for pair in combinations(sorted(bag), 2)}
    for part in ("val", "test"):
        for caption in ds.split(part).captions:
            bag = set(words(caption))
            assert bag <= known
            assert any(pair not in met for pair in combinations(sorted(bag), 2))


def test_compositional_test_pairs_are_new_to_train_and_val_together():
    ds = load_glyphs("compositional", True)
    bags = [set(words(c)) for part in ("train", "val") for c in ds.split(part).captions]
    met = {pair for bag in bags for pair in combinations(sorted(bag), 2)}
    new = [
        any(pair not in met for pair in combinations(sorted(set(words(caption))), 2))
        for caption in ds.split("test").captions
    ]
    assert all(new)


def test_typeface_tests_training_characters_in_other_faces():
    ds = load_glyphs("typeface")
    train, test = ds.split("train"), ds.split("test")
    assert set(test.ids) <= set(train.ids)
    np.testing.assert_array_equal(
        ds.splits["test"], np.concatenate([ds.splits["serif"], ds.splits["mono"]])
    )
    for face in ("serif", "mono"):
        drawn = ds.split(face)
        assert len(set(drawn.ids)) == len(drawn)
        row = drawn.ids.index("g")
        font = manifest.render(face, np.array([ord("g")]))[0] / np.float32(255)
        np.testing.assert_array_equal(drawn.images[row], font)
        twin = train.ids.index("g")
        assert train.captions[twin] == drawn.captions[row]
        assert np.abs(train.images[twin] - drawn.images[row]).max() > 0.5


@pytest.mark.parametrize("split", SPLITS)
def test_vocabulary_is_that_of_the_training_names(split):
    ds = load_glyphs(split)
    expected = sorted({word for c in ds.split("train").captions for word in words(c)})
    assert list(ds.encoder.vocabulary) == expected
    np.testing.assert_array_equal(ds.encode_captions(ds.captions[:50]), ds.texts[:50])


@pytest.mark.parametrize("split", SPLITS)
def test_seeds_give_other_splits_and_the_same_one_again(split):
    parts = [load_glyphs(split, seed=seed).split("val").ids for seed in (None, 0, 1, 0)]
    assert len(set(parts)) == 3
    assert parts[1] == parts[3]


def test_random_sizes_hold_for_any_seed():
    for seed in range(4):
        ds = load_glyphs(seed=seed)
        assert [len(rows) for rows in ds.splits.values()] == [4073, 500, 1000]
        ds = load_glyphs(seed=seed, families_only=True)
        assert [len(rows) for rows in ds.splits.values()] == [2843, 200, 800]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"split": "official"}, "random"), ({"seed": 1.5}, "seed"), ({"seed": -3}, "seed")],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_glyphs(**arguments)


def test_cached_pictures_are_the_drawn_ones(own_cache, mono):
    file, cached = cached_pictures("mono")
    assert cached is None
    glyphs._pictures("mono")
    np.testing.assert_array_equal(cached_pictures("mono")[1], mono)
    assert [path.name for path in (own_cache / "glyphs").iterdir()] == [file.name]


@pytest.mark.parametrize("harm", ["truncate", "alter", "empty", "text", "shape", "pickle"])
def test_a_damaged_cache_is_drawn_anew(own_cache, harm):
    good = glyphs._pictures("mono")
    file, _ = cached_pictures("mono")
    data = bytearray(file.read_bytes())
    if harm == "truncate":
        file.write_bytes(data[: len(data) // 2])
    elif harm == "alter":
        data[len(data) // 2] ^= 0xFF
        file.write_bytes(data)
    elif harm == "empty":
        file.write_bytes(b"")
    elif harm == "text":
        file.write_text("not an archive")
    elif harm == "shape":
        np.savez(file, pictures=good[:5])
    else:
        np.savez(file, pictures=np.array([{"a": 1}], dtype=object))
    assert cached_pictures("mono")[1] is None
    np.testing.assert_array_equal(glyphs._pictures("mono"), good)
    np.testing.assert_array_equal(cached_pictures("mono")[1], good)


def test_an_unwritable_cache_warns_with_file_and_way_out_and_still_works(own_cache, monkeypatch):
    blocked = own_cache / "a file, not a folder"
    blocked.write_text("")
    monkeypatch.setenv("VLALIGN_CACHE", str(blocked))
    with pytest.warns(UserWarning, match=r"mono-32px.*cannot be written.*VLALIGN_CACHE"):
        pictures = glyphs._pictures("mono")
    assert len(pictures) == (manifest.load_manifest().ink["mono"] >= 0).sum()


def test_a_full_disk_leaves_nothing_in_the_cache(own_cache, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_cache.os, "fsync", full)
    with pytest.warns(UserWarning, match="No space left"):
        glyphs._pictures("mono")
    assert list((own_cache / "glyphs").iterdir()) == []


def test_another_font_is_reported_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setitem(manifest.FONTS, "sans", manifest.FONTS["mono"])
    with pytest.raises(DataUnavailable, match=r"DejaVuSansMono.ttf: lacks .*pip install"):
        draw_pictures("sans")
    monkeypatch.setitem(manifest.FONTS, "sans", "NoSuchFont.ttf")
    with pytest.raises(DataUnavailable, match=r"NoSuchFont.ttf: cannot be read .*pip install"):
        load_glyphs()


def test_freetype_draws_the_same_shapes():
    """FreeType's own bitmaps, at a size where they need no shift, differ by rounding alone."""
    from matplotlib import ft2font

    font = manifest.open_font("sans")
    font.set_size(24, 72)
    flags = getattr(ft2font, "LoadFlags", None)
    unhinted = ft2font.LOAD_NO_HINTING if flags is None else flags.NO_HINTING
    for character in "HLT■":
        glyph = font.load_char(ord(character), flags=unhinted)
        picture = manifest.render("sans", np.array([ord(character)]))[0]
        font.set_text(character, 0, flags=unhinted)
        font.draw_glyphs_to_bitmap(antialiased=True)
        bitmap = np.asarray(font.get_image())
        assert glyph.width > 0
        # The ink is that of the outline, wherever the bitmap's grid lies.
        assert picture.sum() == pytest.approx(bitmap.sum(), rel=0.02)
