"""Quiz of chapter 00: start here."""

from vlalign_lib.course._question import Option, Question

QUESTIONS = (
    Question(
        "A cell prints “not attempted”. What happened?",
        (
            Option(
                "The check found a mistake.",
                "Then it would say “not yet” and name the mistake.",
            ),
            Option(
                "The three dots are still there.",
                "Nothing is judged until you write something.",
                right=True,
            ),
            Option("The notebook has stopped.", "A check never stops a notebook."),
        ),
    ),
    Question(
        "A claim is false. What does the book's build do?",
        (
            Option("It fails.", "A false sentence cannot be published.", right=True),
            Option("It prints the claim without a tick.", "Then nobody would notice for a year."),
            Option("It leaves the claim out.", "Then the text would change its meaning silently."),
        ),
    ),
    Question(
        "You have pictures of arrows and texts about arrows, and no idea which text belongs to "
        "which picture. Which line of the map can you ride?",
        (
            Option("pairs", "Pairs are what you do not have."),
            Option(
                "labels",
                "Both sides carry the class “arrow”, and that is enough for some methods.",
                right=True,
            ),
            Option("order in time", "Nothing here happens one after the other."),
        ),
    ),
    Question(
        "Two methods score the same on `test`. You try a third setting of yours, and now it wins. "
        "What does its score measure?",
        (
            Option("How good the method is.", "It did, until the test part was used to choose."),
            Option(
                "How good it is, and how lucky the choice was.",
                "The test part has chosen, so it can no longer judge. Choose on `val`.",
                right=True,
            ),
        ),
    ),
)
