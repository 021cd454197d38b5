"""Quiz of chapter 06: labels as a bridge."""

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "A museum has ten thousand labelled photographs. A library has ten thousand labelled "
        "texts. The labels are the same twenty subjects, and no photograph belongs to any text. "
        "Which methods can be trained?",
        (
            Option(
                "CCA and deep CCA.",
                "Their covariance across the views is a sum over pairs. There are none.",
            ),
            Option(
                "Deep-SM.",
                "Its loss is a sum over photographs plus a sum over texts. Who belongs to whom "
                "is in neither.",
                right=True,
            ),
            Option(
                "None: without pairs there is nothing to align.",
                "The labels are the common language.",
            ),
        ),
    ),
    Question(
        "Deep-SM finds the class of nearly every query, and the own partner of nearly none. Why?",
        (
            Option(
                "It was trained for too short a time.",
                "Training for longer pushes the posteriors further into the corners.",
            ),
            Option(
                "Its space has one dimension a class: what tells the members of a class apart is "
                "what the softmax is trained to ignore.",
                "Items of one class end on nearly one point. Chapter 08 counts this for every "
                "method.",
                right=True,
            ),
            Option(
                "The temperature is wrong.",
                "A higher one brings some of the differences back, but the loss never asked for "
                "them.",
            ),
        ),
    ),
    Question(
        "An item may carry none, one or several of forty tags. Which loss?",
        (
            Option(
                "Softmax and categorical cross-entropy, with the target shared out.",
                "It can rank the tags and cannot count them; an item without a tag teaches "
                "nothing.",
            ),
            Option(
                "A sigmoid for each tag and binary cross-entropy.",
                "Forty questions, answered one by one.",
                right=True,
            ),
            Option(
                "Softmax over all sets of tags.",
                "There are two to the power of forty of them.",
            ),
        ),
    ),
    Question(
        "During adversarial training the loss of the judge settles at the logarithm of two. What "
        "do you know?",
        (
            Option(
                "The views cannot be told apart any more.",
                "That is one possibility. A judge that has learnt nothing has the same loss.",
            ),
            Option(
                "This judge answers at chance. Whether another one could tell the views apart is "
                "open.",
                "Train a fresh judge on the finished codes, and look at held-out items.",
                right=True,
            ),
            Option(
                "The adversary improved the retrieval.",
                "Whether it did is told by the same model without the adversary, and by nothing "
                "else.",
            ),
        ),
    ),
    Question(
        "A paper's code has two optimisers. One holds the encoders and minimises the task; the "
        "other holds the discriminator and minimises its loss behind a gradient reversal. What is "
        "wrong?",
        (
            Option(
                "Nothing. Alternating steps are how such games are played.",
                "They are, where the encoders' step contains the discriminator's loss. Here it "
                "does not.",
            ),
            Option(
                "The reversed gradient arrives at weights that no optimiser moves with it.",
                "The second optimiser does not hold the encoders. They never hear of the judge.",
                right=True,
            ),
            Option(
                "The reversal makes the discriminator worse instead of better.",
                "The reversal sits between encoders and discriminator; the discriminator's own "
                "gradient has the right sign.",
            ),
        ),
    ),
    Question(
        "Class mAP rises by a third when the category is left in the caption. What have you "
        "measured?",
        (
            Option(
                "That longer captions carry more meaning.",
                "One word was added, and it is the answer.",
            ),
            Option(
                "A label leak: the text encoder reads the answer off the query.",
                "Compare with captions that do not name the class, and look for other words that "
                "give it away.",
                right=True,
            ),
            Option(
                "That the image encoder was too weak.",
                "It has not changed.",
            ),
        ),
    ),
)
