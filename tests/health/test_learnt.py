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
    known.facts.learn("a", Fact.LACKS, 0.0, subject="tools")
    known.facts.learn("a", Fact.LACKS, 0.0, subject="image")
    permit = known.begin(A, 0.5)
    assert permit is not None
    known.success(permit, 1.0, {"tools"})
    assert [str(fact) for fact in known.facts.about({"a"}, 1.0)] == ["a lacks image"]


def test_a_form_is_of_a_model_and_a_refused_parameter_of_an_endpoint() -> None:
    facts = LearntFacts()
    facts.learn("a", Fact.FORM, 0.0, value="strict")
    facts.learn("openrouter", Fact.REFUSES, 0.0, subject="stream_options")
    found = [facts.value(model, Fact.FORM, at) for model, at in (("a", 1.0), ("b", 1.0), ("a", 86_400.0))]
    assert found == ["strict", None, None]
    assert facts.subjects("openrouter", Fact.REFUSES, 1.0) == {"stream_options"}
    assert facts.subjects("openrouter", Fact.REFUSES, 86_400.0) == frozenset()
    assert facts.subjects("elsewhere", Fact.REFUSES, 1.0) == frozenset()
