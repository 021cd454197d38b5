"""Quiz of chapter 07: ranking, triplets and adaptive margins."""

from __future__ import annotations

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "The hinge of a triplet is zero. What does this triplet teach in the next step?",
        [
            Option(
                "Nothing: its gradient is zero as well.",
                "The stranger is behind the friend by the margin or more, and the loss does not "
                "ask for further distance.",
                right=True,
            ),
            Option(
                "To push the stranger further still.",
                "Only without the cut at zero. Then solved triplets would go on for ever.",
            ),
            Option(
                "To pull the friend nearer still.",
                "A ranking loss never asks for a cosine of one. It asks for an order, and here the "
                "order is there.",
            ),
        ],
    ),
    Question(
        "A ranking loss averages over all triplets of a batch, solved ones included. After ten "
        "epochs training hardly moves. Why?",
        [
            Option(
                "The margin is too small.",
                "Perhaps, but a larger one only delays it.",
            ),
            Option(
                "The few triplets with something to say are divided by the many that are silent.",
                "Average over the active ones, or choose the strangers.",
                right=True,
            ),
            Option(
                "The space has collapsed.",
                "In a collapsed space every triplet is active: every hinge is the margin.",
            ),
        ],
    ),
    Question(
        "A loss with hardest negatives and m = 0.2 has stood at 0.200 for five epochs. What do "
        "you look at first?",
        [
            Option(
                "The learning rate: it must be too small.",
                "It may be too large. The number itself says more.",
            ),
            Option(
                "The mean cosine within each view.",
                "If all pictures are one point and all texts are one point, friend and stranger "
                "are equally similar, and every hinge is m. The cosines within the views tell.",
                right=True,
            ),
            Option(
                "The test mAP: perhaps it is fine.",
                "It is measured in the end. The loss already says that hinges are equal to m.",
            ),
        ],
    ),
    Question(
        "Which stranger is semi-hard?",
        [
            Option(
                "One that is more similar to the anchor than the friend is.",
                "That one is hard: it is inside the friend's ring.",
            ),
            Option(
                "One that is less similar than the friend, by less than the margin.",
                "It is in the right order already, and not yet by enough.",
                right=True,
            ),
            Option(
                "One of medium similarity in the batch.",
                "What counts is where it lies with respect to this anchor's friend.",
            ),
        ],
    ),
    Question(
        "You train with own pairs as positives, on data with classes. What happens to the class "
        "mAP?",
        [
            Option(
                "It rises, because pairs are more exact than classes.",
                "They are more exact about something else.",
            ),
            Option(
                "It falls: items of one class are strangers and push each other away.",
                "In return the own partner is found more often. Choose what you want to find.",
                right=True,
            ),
            Option(
                "Nothing: labels are not used in retrieval.",
                "They are not used at search time, but they decided who was a friend in training.",
            ),
        ],
    ),
    Question(
        "InfoNCE with a very small temperature resembles",
        [
            Option(
                "the average over random strangers.",
                "That is the other end: with a large temperature all strangers weigh alike.",
            ),
            Option(
                "hardest negatives.",
                "The smaller the temperature, the more of the gradient goes to the most similar "
                "stranger.",
                right=True,
            ),
            Option(
                "a loss without strangers.",
                "Without strangers everything may lie on one point.",
            ),
        ],
    ),
    Question(
        "A margin that adapts on a schedule beats a static margin of 0.2 by two points. What is "
        "still missing?",
        [
            Option(
                "Nothing, if the interval of the difference excludes zero.",
                "It may be that 0.2 was a poor static margin, or that any change of margin helps.",
            ),
            Option(
                "The same schedule with margins in the wrong places, and a static margin chosen on "
                "validation.",
                "The first tells whether the meaning of the margins matters, the second whether "
                "another size of margin does as well.",
                right=True,
            ),
            Option(
                "More epochs.",
                "Both sides would get them.",
            ),
        ],
    ),
)
