"""Quiz of chapter 03: linear coordinates, CCA and kin."""

from __future__ import annotations

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "You multiply every pixel by 255. What happens to the canonical correlations?",
        [
            Option(
                "Nothing.",
                "A correlation knows no units. With a ridge that is still true, because κ is "
                "relative to the variances.",
                right=True,
            ),
            Option("They grow.", "Covariances grow, and so does the spread they are divided by."),
            Option(
                "The first ones grow, the last ones shrink.",
                "All pixels grew alike, so every axis is as good as before.",
            ),
        ],
    ),
    Question(
        "100 pairs, 60 and 60 dimensions, no regularisation. 21 correlations are 1. Why?",
        [
            Option(
                "The views share 21 dimensions.",
                "Perhaps they do, but random numbers of these sizes would show the same.",
            ),
            Option(
                "Two spans of 60 dimensions have to meet where there are only 99.",
                "60 + 60 − 99 = 21 mixtures of one view equal mixtures of the other, whatever "
                "the data.",
                right=True,
            ),
            Option("Rounding.", "Exact arithmetic says the same."),
        ],
    ),
    Question(
        "Where do you choose κ?",
        [
            Option(
                "Where the training correlations are largest.",
                "That is always at no regularisation, and tells you nothing.",
            ),
            Option(
                "Where the test pairs do best.",
                "Then the test measures how well you chose, and nothing is left to measure the "
                "method.",
            ),
            Option(
                "Where held-out validation pairs correlate or retrieve best.",
                "What was learnt by heart does not help there.",
                right=True,
            ),
        ],
    ),
    Question(
        "Linear CCA finds no correlation between two views, on plenty of pairs. What follows?",
        [
            Option(
                "The views are independent.",
                "On the circle one view determines the other, and CCA finds nothing.",
            ),
            Option(
                "No mixture of one view correlates with a mixture of the other.",
                "That is exactly what was searched, and no more.",
                right=True,
            ),
            Option("There are too few pairs.", "Too few pairs make it find too much."),
        ],
    ),
    Question(
        "You have labelled pictures and labelled texts, and nobody knows which belong together. "
        "Which method of this chapter can you train?",
        [
            Option("CFA", "It needs the covariance across, and so who belongs to whom."),
            Option("SCM", "Its classifiers read canonical variates, and those needed pairs."),
            Option(
                "SM",
                "Two classifiers that never meet. What they agree on is the list of classes.",
                right=True,
            ),
        ],
    ),
    Question(
        "In the slide's formula, $E[uv] / \\sqrt{E[u^2] E[v^2]}$, the views are not centred. What "
        "does it measure then?",
        [
            Option(
                "A cosine: two coordinates with large means look alike whatever they do.",
                "The product of the means comes in, and can make a large number out of nothing.",
                right=True,
            ),
            Option("The correlation.", "That needs both means to be zero."),
            Option("Nothing that lies between −1 and 1.", "It still does, by Cauchy and Schwarz."),
        ],
    ),
)
