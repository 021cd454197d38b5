"""Quiz of chapter 04: autoencoders."""

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "An autoencoder with two inlets brings both views back almost perfectly. Can its code be "
        "used to find the text of a picture?",
        (
            Option(
                "Yes: the code holds everything that both views say.",
                "The code of the *pair* does. The code of a picture alone was never asked for.",
            ),
            Option(
                "Not yet: the code of one view alone need not be near that of the other.",
                "The loss is as happy with two languages side by side as with a common one.",
                right=True,
            ),
            Option(
                "Yes, if the code is wide enough.",
                "The wider it is, the less it has to share: with room for both, copying is enough.",
            ),
        ),
    ),
    Question(
        "You train with one inlet closed now and then. What is asked back for an item whose text "
        "was hidden?",
        (
            Option(
                "The picture alone.",
                "Then nothing tells the code of a picture what its text should be.",
            ),
            Option(
                "The picture, and zeros for the text.",
                "That teaches that a missing text is an empty text.",
            ),
            Option(
                "The picture and the text.",
                "Guessing the hidden view from the other is what ties them.",
                right=True,
            ),
        ),
    ),
    Question(
        "A colleague reports: “With α = 1 the distance of held-out partners is a hundred times "
        "smaller than with α = 0.5.” What do you ask for?",
        (
            Option(
                "The distance of strangers.",
                "If it is a hundred times smaller as well, the space has fallen together.",
                right=True,
            ),
            Option(
                "The same number on more held-out pairs.",
                "It would be as small: a constant is close to itself on any data.",
            ),
            Option(
                "A still larger weight on the distance.",
                "There is none: all the weight is there already, and that is the trouble.",
            ),
        ),
    ),
    Question(
        "What makes the two encoders of a correspondence autoencoder usable independently?",
        (
            Option(
                "The weights of the middle layer are shared.",
                "The slide says so. In the paper nothing is shared, and sharing that layer does "
                "not align the codes: we measured it.",
            ),
            Option(
                "They are two networks, each reading one view only; a term of the loss brings "
                "their codes together.",
                "Independence comes from the wiring, the alignment from the loss.",
                right=True,
            ),
            Option(
                "Modality dropout.",
                "That is the way out for the one network with two inlets.",
            ),
        ),
    ),
    Question(
        "Why can the full variant do without most of the term that pulls the codes together?",
        (
            Option(
                "Each decoder reads both codes, so both encoders have to write one language.",
                "The decoder of the pictures cannot tell whose code it has been given.",
                right=True,
            ),
            Option(
                "It has twice as many weights.",
                "It has exactly as many as the plain variant; only the loss has more terms.",
            ),
            Option(
                "Reconstruction always aligns codes.",
                "The plain variant without a pull reconstructs as well, and matches little better "
                "than chance.",
            ),
        ),
    ),
    Question(
        "Which use needs the joint code of all views, and cannot be had from one encoder a view "
        "without a further rule?",
        (
            Option(
                "Searching pictures by words.",
                "One encoder a view is made for that.",
            ),
            Option(
                "A query of a picture together with words.",
                "Two encoders give two codes; the hourglass merges them by itself.",
                right=True,
            ),
            Option(
                "Reading texts with a classifier that was trained on pictures.",
                "It needs codes of one language, joint or not.",
            ),
        ),
    ),
)
