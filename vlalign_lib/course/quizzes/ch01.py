"""Quiz of chapter 01: a multimodal world."""

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "All pixels together tell capital from small letters. Why does a single pixel hardly do?",
        (
            Option("The pictures are too small.", "In larger ones each pixel knows even less."),
            Option(
                "A pixel has a place, not a meaning.",
                "Move the letter, and the pixel shows another part of it. A column of a table "
                "means the same in every row.",
                right=True,
            ),
            Option("Pixels are noisy.", "A program drew these, without any noise."),
        ),
    ),
    Question(
        "A gallery has 500 items, one of them right. What does a random space score in R@5?",
        (
            Option("1 in 500", "That is R@1."),
            Option("1 in 5", "That would be R@5 in a gallery of 25."),
            Option("1 in 100", "Five of the 500 places count: $K/G$.", right=True),
        ),
    ),
    Question(
        "A space puts 1,000 pairs on one point. Which R@1 should a fair metric give?",
        (
            Option("1", "So says a metric that counts strictly greater scores only."),
            Option("0", "Too hard: among equals, the right one comes first now and then."),
            Option(
                "1 in 1,000",
                "The order among equals is random, so this is the R@1 of chance.",
                right=True,
            ),
            Option(
                "It has none.", "Its expectation is as well defined as that of any random order."
            ),
        ),
    ),
    Question(
        "A ranked list is cut after 50 items. When can the cut raise the average precision?",
        (
            Option(
                "When the sum is divided by the hits among the 50.",
                "What was not found costs nothing then: only the purity of the first page counts.",
                right=True,
            ),
            Option(
                "When it is divided by the relevant items of the gallery.",
                "The late hits go and the divisor stays: it can only fall. (Where the divisor is "
                "50 at most, as in exercise 3, it may rise as well.)",
            ),
            Option("Never.", "It depends on the divisor; look at the six protocols once more."),
        ),
    ),
    Question(
        "Method A has an R@10 of one half among 100 items, method B of one third among 1,000. Who "
        "is better?",
        (
            Option("A", "A half is more than a third, but A searched a tenth of the items."),
            Option(
                "B",
                "Measured against chance it looks so. But chance does not say how A would do "
                "among 1,000.",
            ),
            Option(
                "These numbers do not say.",
                "Give both galleries of one size, then compare.",
                right=True,
            ),
        ),
    ),
    Question(
        "A bootstrap over the test queries gives a narrow interval. What may still be wrong? More "
        "than one answer is right.",
        (
            Option("Nothing.", "The interval knows one source of chance, the choice of queries."),
            Option(
                "With other training pairs the number might be another.",
                "The bootstrap never trained anything again.",
                right=True,
            ),
            Option(
                "The number beside it may come from another protocol.",
                "No interval sees that.",
                right=True,
            ),
        ),
    ),
    Question(
        "A space has a class mAP near 1 and an R@10 near chance. How can that be?",
        (
            Option(
                "Something is broken.", "Perhaps, but both numbers can be right at the same time."
            ),
            Option(
                "It knows classes and no partners.",
                "All members of a class lie on one point; inside the class the order is random.",
                right=True,
            ),
            Option(
                "The gallery is too small.", "In a small gallery R@10 is large, even by chance."
            ),
        ),
    ),
)
