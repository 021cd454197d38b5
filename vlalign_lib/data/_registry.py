"""What there is: files, sizes, check sums, addresses, licences, citations."""

from __future__ import annotations

from dataclasses import dataclass

from vlalign_lib._validate import is_one_of

_CROSSMODAL = (
    "https://raw.githubusercontent.com/emanuetre/crossmodal/"
    "40db7f5338a150ef8feff2787f4bb8b3df809355/wikipedia_info/"
)


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
class DataSet:
    """One data set.

    Args:
        name: the word that names it everywhere.
        title: what it is, in a few words.
        licence: under which terms it may be used.
        citation: whom to cite.
        files: what has to be downloaded; nothing where a dependency brings the data.
    """

    name: str
    title: str
    licence: str
    citation: str
    files: tuple[DataFile, ...] = ()

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
    )
}

#: Names of the data sets.
DATASETS: tuple[str, ...] = tuple(SETS)


def lookup(name: str) -> DataSet:
    """Return the entry of a data set, or raise a ValueError that lists the names."""
    if not is_one_of(name, tuple(SETS)):
        raise ValueError(f"data set: expected one of {', '.join(DATASETS)}, got {name!r}")
    return SETS[name]
