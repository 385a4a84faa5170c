"""Translates a history that models of one family wrote into the form that another family accepts.

Pure: a history and a target in, a history out. `rules` is the table, `translate` the translation.
"""

from ...routes.model_families import Family, family_of, same_model
from .answer import deliver
from .blocks import unsendable
from .forms import Form, Target, asks_for_thinking, needs_strict
from .history import History
from .ids import delivered_ids
from .loops import Delivered, loop_models, name_callers, name_signers
from .marks import marks_beside, with_tool_marks
from .memory import Histories
from .names import restore_names, tool_names, translated_params
from .rules import FORMATS, RULES, Reasoning, Rule, rule_for
from .translate import Handover, translate

__all__ = [
    "FORMATS",
    "RULES",
    "Delivered",
    "Family",
    "Form",
    "Handover",
    "Histories",
    "History",
    "Reasoning",
    "Rule",
    "Target",
    "asks_for_thinking",
    "deliver",
    "delivered_ids",
    "family_of",
    "loop_models",
    "marks_beside",
    "name_callers",
    "name_signers",
    "needs_strict",
    "restore_names",
    "rule_for",
    "same_model",
    "tool_names",
    "translate",
    "translated_params",
    "unsendable",
    "with_tool_marks",
]
