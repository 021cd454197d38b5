"""What there is: files, sizes, check sums, addresses, licences, citations."""

from __future__ import annotations

from dataclasses import dataclass

from vlalign_lib._validate import is_one_of

_CROSSMODAL = (
    "https://raw.githubusercontent.com/emanuetre/crossmodal/"
    "40db7f5338a150ef8feff2787f4bb8b3df809355/wikipedia_info/"
)
_CLASSES = {
    name: tuple(line.split())
    for name, line in (
        (
            "wikipedia_deep",
            "art biology geography history literature media music royalty sport warfare",
        ),
        (
            "pascal_sentences",
            "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse "
            "motorbike person pottedplant sheep sofa train tvmonitor",
        ),
        ("nus_wide_10k", "animal cloud flower food grass person sky toy water window"),
    )
}


@dataclass(frozen=True)
class DataFile:
    """One file of a data set.

    Args:
        path: where it lies inside the folder of its set.
        size: length in bytes.
        sha256: its check sum, in hexadecimal.
        urls: addresses that have it, the best one first.
    """

    path: str
    size: int
    sha256: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Features:
    """What the features of a data set look like that everybody makes from the originals.

    Args:
        sizes: pairs in train, val and test.
        image_width: numbers a picture.
        text_width: numbers a text.
        label_names: the classes.
        key: sets the data set apart from others in random orders.
    """

    sizes: tuple[int, int, int]
    image_width: int
    text_width: int
    label_names: tuple[str, ...]
    key: int

    @property
    def pairs(self) -> int:
        """All pairs."""
        return sum(self.sizes)


@dataclass(frozen=True)
class DataSet:
    """One data set.

    Args:
        name: the word that names it everywhere.
        title: what it is, in a few words.
        licence: under which terms it may be used.
        citation: whom to cite.
        files: what has to be downloaded; nothing where a dependency brings the data.
        features: the layout of what ``vlalign data features`` makes; None for other sets.
    """

    name: str
    title: str
    licence: str
    citation: str
    files: tuple[DataFile, ...] = ()
    features: Features | None = None

    @property
    def size(self) -> int:
        """Bytes to download."""
        return sum(file.size for file in self.files)


SETS = {
    entry.name: entry
    for entry in (
        DataSet(
            name="digits",
            title="handwritten digits, left and right halves (with scikit-learn)",
            licence="CC BY 4.0 (UCI Machine Learning Repository); copy in scikit-learn",
            citation=(
                "E. Alpaydin and C. Kaynak (1998). Optical Recognition of Handwritten Digits. "
                "UCI Machine Learning Repository. https://doi.org/10.24432/C50P49"
            ),
        ),
        DataSet(
            name="glyphs",
            title="characters of DejaVu Sans and their Unicode names (with matplotlib)",
            licence=(
                "fonts: Bitstream Vera and Arev licences, DejaVu's changes in the public "
                "domain; names: Unicode License v3"
            ),
            citation=(
                "DejaVu fonts team. DejaVu fonts, version 2.35. https://dejavu-fonts.github.io; "
                "The Unicode Consortium. The Unicode Standard, character names. "
                "https://www.unicode.org"
            ),
        ),
        DataSet(
            name="wikipedia",
            title="sections of Wikipedia's featured articles: picture words and topics",
            licence=(
                "features published by Rasiwasia et al. (2010) for research, with citation; the "
                "articles under CC BY-SA, each picture under its own licence; the repository "
                "that the files come from under an ISC-style licence (emanuetre, 2015)"
            ),
            citation=(
                "N. Rasiwasia, J. Costa Pereira, E. Coviello, G. Doyle, G. R. G. Lanckriet, "
                "R. Levy and N. Vasconcelos (2010). A New Approach to Cross-Modal Multimedia "
                "Retrieval. ACM Multimedia, 251–260. https://doi.org/10.1145/1873951.1873987"
            ),
            files=(
                DataFile(
                    "raw_features.mat",
                    1_075_232,
                    "ca628f765a69575e168ab29eb97f5ade12fadf47b31de1328c7ff631c7f225ae",
                    (_CROSSMODAL + "raw_features.mat",),
                ),
                DataFile(
                    "trainset_txt_img_cat.list",
                    155_153,
                    "30c1ba8afbe90da5986de9b12496b6dd2e4680d3876b79ab7aae2e437d5819a3",
                    (_CROSSMODAL + "trainset_txt_img_cat.list",),
                ),
                DataFile(
                    "testset_txt_img_cat.list",
                    49_494,
                    "ec3123ee31cc89dd95fbeb23eb73b2ecfd1d8909bba863723471aad99408c1eb",
                    (_CROSSMODAL + "testset_txt_img_cat.list",),
                ),
                DataFile(
                    "categories.list",
                    75,
                    "4929f3ee00e9de9ffe11f9ab18fc8919b0f6182cc801309409df2f2d05e2b0f5",
                    (_CROSSMODAL + "categories.list",),
                ),
            ),
        ),
        DataSet(
            name="wikipedia_deep",
            title="the same sections of Wikipedia: VGG-19 fc7 and word counts",
            licence=(
                "articles under CC BY-SA, each picture under its own licence; features that you "
                "make are yours to use within these; weights of VGG-19: see torchvision"
            ),
            citation=(
                "N. Rasiwasia, J. Costa Pereira, E. Coviello, G. Doyle, G. R. G. Lanckriet, "
                "R. Levy and N. Vasconcelos (2010). A New Approach to Cross-Modal Multimedia "
                "Retrieval. ACM Multimedia, 251–260. https://doi.org/10.1145/1873951.1873987"
            ),
            features=Features(
                sizes=(2173, 231, 462),
                image_width=4096,
                text_width=3000,
                label_names=_CLASSES["wikipedia_deep"],
                key=11,
            ),
        ),
        DataSet(
            name="pascal_sentences",
            title="a thousand photographs with five sentences each: VGG-19 fc7 and word counts",
            licence=(
                "pictures from Flickr through PASCAL VOC 2008, under the terms of their authors; "
                "no licence is stated for the sentences: research use by convention"
            ),
            citation=(
                "C. Rashtchian, P. Young, M. Hodosh and J. Hockenmaier (2010). Collecting Image "
                "Annotations Using Amazon's Mechanical Turk. NAACL HLT Workshop on Creating "
                "Speech and Language Data with Amazon's Mechanical Turk, 139–147"
            ),
            features=Features(
                sizes=(800, 100, 100),
                image_width=4096,
                text_width=1000,
                label_names=_CLASSES["pascal_sentences"],
                key=12,
            ),
        ),
        DataSet(
            name="nus_wide_10k",
            title="ten thousand Flickr photographs and their tags: VGG-19 fc7 and word counts",
            licence=(
                "pictures from Flickr, under the terms of their authors; NUS-WIDE is given out "
                "for research on request, with an agreement to be signed"
            ),
            citation=(
                "T.-S. Chua, J. Tang, R. Hong, H. Li, Z. Luo and Y. Zheng (2009). NUS-WIDE: A "
                "Real-World Web Image Database from National University of Singapore. ACM "
                "International Conference on Image and Video Retrieval, article 48. "
                "https://doi.org/10.1145/1646396.1646452"
            ),
            features=Features(
                sizes=(8000, 1000, 1000),
                image_width=4096,
                text_width=1000,
                label_names=_CLASSES["nus_wide_10k"],
                key=13,
            ),
        ),
    )
}

#: Names of the data sets.
DATASETS: tuple[str, ...] = tuple(SETS)


def lookup(name: str) -> DataSet:
    """Return the entry of a data set, or raise a ValueError that lists the names."""
    if not is_one_of(name, tuple(SETS)):
        raise ValueError(f"data set: expected one of {', '.join(DATASETS)}, got {name!r}")
    return SETS[name]
