"""Quiz of chapter 02: early and late fusion."""

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "A paper reports: “Without audio our fused model falls from 95 to 70 points, so it has "
        "learnt to use audio.” What is missing?",
        (
            Option(
                "A model trained without audio.",
                "If it reaches 70 as well, the fall is what audio was worth. If it reaches 88, "
                "eighteen of the points are the wiring's own fault.",
                right=True,
            ),
            Option("More seeds.", "They tell how sure the 70 is, not what it means."),
            Option(
                "A larger fused model.",
                "It may change the 95, and explains nothing about the fall.",
            ),
        ),
    ),
    Question(
        "Which of these can learn whether two halves belong together?",
        (
            Option(
                "A linear model on the two halves side by side.",
                "It adds a vote of the left to a vote of the right, and neither alone says "
                "anything about the question.",
            ),
            Option(
                "A network with a hidden layer on the two halves side by side.",
                "A hidden unit sees left and right pixels at once. Being early is not the problem.",
                right=True,
            ),
            Option(
                "Deep encoders for each half, codes side by side, a linear layer on top.",
                "However deep the encoders, the last layer adds what they say.",
            ),
            Option(
                "Two encoders into one space, and a comparison of the two points.",
                "In a comparison the views meet: this is retrieval.",
                right=True,
            ),
        ),
    ),
    Question(
        "Modality dropout hid a view from half of the training items. What do you hide at test "
        "time?",
        (
            Option(
                "Views at the same rate, so that training and test look alike.",
                "You would throw away what is there. Dropout is a rehearsal.",
            ),
            Option(
                "Nothing. A mask says what is really missing.",
                "Use all that is there, and say what is not.",
                right=True,
            ),
            Option(
                "Nothing, and the outputs are scaled, as with dropout of hidden units.",
                "That correction belongs to sums over many units. Here the mask tells the model.",
            ),
        ),
    ),
    Question(
        "One view was stored in units that make its numbers a thousand times smaller. You train "
        "early fusion with weight decay and do not standardise. How do you notice?",
        (
            Option("The training diverges.", "It converges nicely, on the other view."),
            Option(
                "The accuracy on whole items is at chance.",
                "It is about as good as the other view alone.",
            ),
            Option(
                "With the other view hidden, the accuracy is at chance.",
                "To find a view that nobody listens to, leave it alone with the model.",
                right=True,
            ),
        ),
    ),
    Question(
        "Decision fusion averages the posteriors of the views that are there. One of two views is "
        "missing. What is its accuracy?",
        (
            Option(
                "That of the single-view model of the other view.",
                "With one voter silent the average is the vote of the other. It is the same model.",
                right=True,
            ),
            Option(
                "Half-way between the fused model and the single-view model.",
                "Nothing of the fused model is left when one voter is silent.",
            ),
            Option(
                "Chance.", "That is what a model reaches that leaned on the missing view alone."
            ),
        ),
    ),
)
