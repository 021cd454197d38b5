"""What the notebooks need: set-up, claims, exercises, quizzes, budgets and the ledger.

Only notebooks use this package; the library never imports it.
"""

from vlalign_lib.course._budget import Budget, TierCost, budget, load_budget
from vlalign_lib.course._check import SolutionFailed, check, hint
from vlalign_lib.course._claim import ClaimFailed, claim
from vlalign_lib.course._exercise import Case, Exercise, Mistake, Verdict, assess, case
from vlalign_lib.course._glue import glue
from vlalign_lib.course._question import Option, Question
from vlalign_lib.course._quiz import quiz
from vlalign_lib.course._records import ledger, ledger_all
from vlalign_lib.course._setup import Environment, setup

__all__ = [
    "Budget",
    "Case",
    "ClaimFailed",
    "Environment",
    "Exercise",
    "Mistake",
    "Option",
    "Question",
    "SolutionFailed",
    "TierCost",
    "Verdict",
    "assess",
    "budget",
    "case",
    "check",
    "claim",
    "glue",
    "hint",
    "ledger",
    "ledger_all",
    "load_budget",
    "quiz",
    "setup",
]
