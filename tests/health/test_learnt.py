"""What was learnt about models and endpoints: each fact holds for a while, is bounded, and can be unlearnt."""

from __future__ import annotations

from openrouter_fallback.health import Fact, HealthScopes, Learnt, LearntFacts, MemoryHealth, Rules
from openrouter_fallback.health.learnt import MOST_FACTS

A = HealthScopes("a", "openrouter", "account")


def health() -> MemoryHealth:
    return MemoryHealth(Rules(), lambda: 0.5)


def test_a_fact_holds_as_long_as_its_kind() -> None:
    facts = LearntFacts()
    facts.learn("a", Fact.LACKS, 10.0, subject="tools")
    assert facts.get("a", Fact.LACKS, 609.9, "tools") == Learnt("a", Fact.LACKS, "tools", "", 610.0)
    assert facts.get("a", Fact.LACKS, 609.9, "image") is None
    assert facts.get("b", Fact.LACKS, 609.9, "tools") is None
    assert facts.get("a", Fact.LACKS, 610.0, "tools") is None
    assert facts.about({"a"}, 0.0) == (), "it is gone, not hidden"


def test_some_hold_until_they_are_forgotten() -> None:
    facts = LearntFacts()
    facts.learn("a", Fact.CONTINUES, 0.0, value="instruct")
    facts.learn("a", Fact.REASONS, 0.0)
    assert [str(fact) for fact in facts.about({"a"}, 1e9)] == ["a continues instruct", "a reasons"]
    facts.forget("a", Fact.REASONS)
    assert [fact.fact for fact in facts.about({"a"}, 1e9)] == [Fact.CONTINUES]
    facts.forget("a")
    assert facts.about({"a"}, 1e9) == ()


def test_the_oldest_goes_first() -> None:
    facts = LearntFacts()
    for number in range(MOST_FACTS + 1):
        facts.learn(f"model{number}", Fact.REASONS, 0.0)
    assert facts.get("model0", Fact.REASONS) is None
    assert facts.get("model1", Fact.REASONS) is not None
    assert facts.get(f"model{MOST_FACTS}", Fact.REASONS) is not None


def test_an_answer_unlearns_a_lack() -> None:
    known = health()
    known.learn_lack(A, "tools", 0.0)
    known.learn_lack(A, "image", 0.0)
    permit = known.begin(A, 0.5)
    assert permit is not None
    known.success(permit, 1.0, {"tools"})
    assert [str(fact) for fact in known.learnt({"a"}, 1.0)] == ["a lacks image"]


def test_a_form_is_of_a_model_and_a_refused_parameter_of_an_endpoint() -> None:
    known = health()
    known.learn_form(A, "strict", 0.0)
    known.learn_refusal(A.endpoint, "stream_options", 0.0)
    assert (known.form("a", 1.0), known.form("b", 1.0), known.form("a", 86_400.0)) == ("strict", None, None)
    assert known.refusals("openrouter", 1.0) == {"stream_options"}
    assert known.refusals("openrouter", 86_400.0) == frozenset()
    assert known.refusals("elsewhere", 1.0) == frozenset()
