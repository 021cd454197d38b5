"""Quiz of chapter 08: the retrieval table."""

from __future__ import annotations

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "Two tables print different numbers for the same method on the same data set. What do you "
        "look at first?",
        [
            Option(
                "Which of the two was published later.",
                "The date does not say how it was measured.",
            ),
            Option(
                "Similarity, length of the list, divisor, features and split: the protocol.",
                "Each of them moves the number, often by more than the step from one method to the "
                "next.",
                right=True,
            ),
            Option(
                "Whether one of them has a mistake.",
                "Perhaps, but both may be right, each by its own protocol.",
            ),
        ],
    ),
    Question(
        "A test set has a hundred queries. To halve the interval of a mean average precision you "
        "need",
        [
            Option("two hundred queries.", "The width falls with the root of their number."),
            Option(
                "four hundred queries.",
                "The width falls with the root: four times as many for half of it.",
                right=True,
            ),
            Option(
                "more seeds.",
                "Seeds tell how much the training varies. How much a hundred queries say of all "
                "queries, they do not tell.",
            ),
        ],
    ),
    Question(
        "The intervals of two methods overlap. What follows?",
        [
            Option(
                "No data could tell which is better.",
                "If both were measured on the same splits, the interval of their difference may "
                "well exclude zero.",
            ),
            Option(
                "Nothing yet: look at the interval of the difference, seed by seed.",
                "What both have in common, an easy split or a hard one, falls out of the "
                "difference, if they have any of it in common.",
                right=True,
            ),
            Option(
                "They are equally good.",
                "That would take a difference whose interval is narrow and holds zero.",
            ),
        ],
    ),
    Question(
        "With nineteen methods there are 171 pairs. If all were equally good, how many would, on "
        "average, differ at the 5 % level, each asked by itself?",
        [
            Option("None: equal is equal.", "Numbers from finite data are never quite equal."),
            Option(
                "Eight or nine, by chance.",
                "A twentieth of 171. That is why compare_methods corrects for their number.",
                right=True,
            ),
            Option(
                "All of them, sooner or later.",
                "With more seeds the spread falls and so does the difference. A twentieth stays.",
            ),
        ],
    ),
    Question(
        "Five random splits of one data set are used as five seeds. Why is the plain t interval "
        "too narrow?",
        [
            Option(
                "Five is too few for the t distribution.",
                "The factor t is there for that: it is large for five.",
            ),
            Option(
                "The splits share most of their training rows, so that they agree more than five "
                "data sets would.",
                "Nadeau and Bengio add the ratio of test to training pairs under the root.",
                right=True,
            ),
            Option(
                "The weights start at random.",
                "That is part of what varies from seed to seed, and it is in the interval.",
            ),
        ],
    ),
    Question(
        "A method has the best class mAP of all and finds an item's own partner among the first "
        "ten for one query in seven. Is something broken?",
        [
            Option(
                "Yes: who finds the class must find the partner.",
                "The partner is one of many items of its class, and labels say nothing of which.",
            ),
            Option(
                "No: it puts a class on nearly one point, and the order within is chance.",
                "It was asked for the class. For names of single things take a method that learns "
                "from pairs.",
                right=True,
            ),
            Option(
                "The metric is: recall at ten is no use here.",
                "It answers another question, and an honest one.",
            ),
        ],
    ),
    Question(
        "Average precision is divided by the hits among the first fifty. What does that hide?",
        [
            Option(
                "How many relevant items were never found.",
                "A list with two hits at the top scores one, though eighty more were to be found.",
                right=True,
            ),
            Option(
                "The order of the first fifty.",
                "The order counts: a hit at the top gives more than a hit at place fifty.",
            ),
            Option(
                "Nothing: nobody reads past fifty.",
                "For a reader that may be true. Then say how many of the fifty are right.",
            ),
        ],
    ),
    Question(
        "You tried two hundred random projections and report the best one's mAP on the test set. "
        "What have you measured?",
        [
            Option(
                "A good random projection.",
                "On new pairs it would be chance again.",
            ),
            Option(
                "How far chance reaches in two hundred tries on this very test set.",
                "Whatever is chosen on the test set is too good there. Choose on validation.",
                right=True,
            ),
            Option(
                "The same as with one projection, only more exactly.",
                "The mean of two hundred would be. The best of them is not.",
            ),
        ],
    ),
)
