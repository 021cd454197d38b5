"""Quiz of chapter 05: deep CCA."""

from __future__ import annotations

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "A network's loss says that all ten correlations of a batch of 12 are nearly one. What "
        "have you learnt about the data?",
        [
            Option("That the views agree.", "Independent noise would show nearly the same."),
            Option(
                "Next to nothing.",
                "Eleven directions are left after centring. Ten against ten of them must nearly "
                "meet, whatever the data.",
                right=True,
            ),
            Option(
                "That the learning rate is right.",
                "The number was there before the first step.",
            ),
        ],
    ),
    Question(
        "You multiply the outputs of the picture network by a random invertible matrix, and leave "
        "the texts alone. No ridge. What changes?",
        [
            Option(
                "The loss, and so the training.",
                "The loss looks through such a matrix: whitening undoes it.",
            ),
            Option(
                "Nothing at all.",
                "The loss stays, but the cosine between a picture's output and a text's does not.",
            ),
            Option(
                "Distances between the raw outputs, and nothing after the final CCA.",
                "That is why raw outputs must not be compared: the loss never fixed them.",
                right=True,
            ),
        ],
    ),
    Question(
        "What does the universal approximation theorem promise for deep CCA?",
        [
            Option(
                "That some network of enough units comes as near as you like to the best "
                "continuous functions on a bounded set.",
                "That it exists. How many units, whether training finds them and whether few "
                "pairs suffice are other questions.",
                right=True,
            ),
            Option(
                "That training finds the best functions.",
                "The theorem says nothing about training.",
            ),
            Option(
                "That wider networks retrieve better on new pairs.",
                "Wide enough, a network also fits shuffled pairs.",
            ),
        ],
    ),
    Question(
        "Batches of 25 and of 400, the same number of epochs: the two score the same. May you "
        "conclude that the size of a batch does not matter?",
        [
            Option(
                "Yes, everything else was equal.",
                "The batches of 25 made sixteen times as many updates.",
            ),
            Option(
                "No: the number of updates differed; at equal updates the large ones win by far.",
                "Neither comparison is the fair one. Say which you made.",
                right=True,
            ),
            Option(
                "No: one should compare at equal learning rates.",
                "They were equal. What differed was the number of updates.",
            ),
        ],
    ),
    Question(
        "Where does the NaN come from when two units are dead in a loss written with eigenvectors?",
        [
            Option(
                "From dividing by a variance of zero.",
                "The ridge keeps the variance above zero; the loss itself is finite.",
            ),
            Option(
                "From the derivative of eigenvectors, which divides by differences of eigenvalues.",
                "Two dead units have the same eigenvalue, and the difference is zero.",
                right=True,
            ),
            Option(
                "From single precision.",
                "Equal is equal in double precision too.",
            ),
        ],
    ),
    Question(
        "The slide prints ρ = E[uv] / √(E[u²] E[v²]) as the objective. With k = 10 outputs, what "
        "is maximised?",
        [
            Option(
                "The mean of ten such fractions, one for each output unit.",
                "Then ten copies of the best unit would be the best network.",
            ),
            Option(
                "The largest of the correlations.",
                "That is top_k = 1: one dimension, however many outputs there are.",
            ),
            Option(
                "The sum of ten correlations, each of a pair of axes that is uncorrelated with "
                "the others.",
                "The whitening within each view keeps the ten from saying the same thing.",
                right=True,
            ),
        ],
    ),
)
