"""What the commands `models` and `check` print for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.table import Table
from rich.text import Text

from ... import ModelInfo
from ..analysis.audit import Finding
from ..analysis.costs import MILLION, ChainCost, per_million, usd
from ..commands.check import CheckedModel, Report
from ..credentials import KeyState
from .terminal import say, stdout, tame

# Capabilities in the order in which they are shown, in a word each.
_CAN = (
    ("tools", "tools"),
    ("structured_outputs", "schema"),
    ("reasoning", "reasoning"),
    ("image", "image"),
    ("file", "file"),
    ("audio", "audio"),
    ("video", "video"),
)
_MANY = 4
_NARROW = 72  # columns; in fewer, models are told without what a check of them says in passing
_LEVEL = {"problem": "red", "warning": "yellow", "note": "dim"}  # the worse first


def show_models(models: Sequence[ModelInfo], total: int) -> None:
    """One row per model, and how many there are."""
    table = _table(("model", "left"), ("context", "right"), ("in", "right"), ("out", "right"), ("can", "left"))
    for model in models:
        can = " ".join(word for need, word in _CAN if model.can(need))
        until = f" until {model.expires}" if model.expires is not None else ""
        table.add_row(
            Text(tame(model.id)),
            tokens(model.context_length),
            usd(per_million(model.prompt_price)),
            usd(per_million(model.completion_price)),
            Text.assemble((can, "dim"), (until, "yellow")),
        )
    if models:
        stdout().print(table)
    say(f"{len(models)} of {total} models; prices in USD per million tokens in and out.", "dim")


def tokens(count: int | None) -> str:
    """A number of tokens as people write it."""
    if count is None:
        return "?"
    if count >= MILLION:
        return f"{count / MILLION:.3g}M"
    return f"{count / 1000:.0f}K" if count >= 1000 else str(count)


def show_report(report: Report, *, passed: bool) -> None:
    """The keys, the models, the chains' costs, what is wrong, and the verdict."""
    out = stdout()
    for key in report.keys:
        out.print(Text.assemble(*_key(key)), soft_wrap=True)
    for one in report.lists:
        since = f"{one.count}, fetched at {one.fetched:%Y-%m-%d %H:%M} UTC" if one.fetched is not None else "not known"
        out.print(Text(f"models of {one.endpoint}: {since}"), soft_wrap=True)
    out.print()
    out.print(_models(report.models, narrow=out.width < _NARROW))
    if any(cost.dearest is not None for _, cost in report.costs):
        out.print()
        out.print(_costs(report))
    if report.findings:
        out.print()
        out.print(_findings(report.findings))
    out.print()
    out.print(verdict(merged(report.findings), passed=passed))


def _findings(findings: Sequence[Finding]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for one in merged(findings):
        text = Text.assemble((one.about, "bold"), ": ", tame(one.text))
        if one.step:
            text.append(f"\n-> {tame(one.step)}")
        table.add_row(Text(one.level, _LEVEL[one.level]), text)
    return table


def merged(findings: Iterable[Finding]) -> list[Finding]:
    """Findings that say the same of several things as one, that a dead network fills no screen."""
    about: dict[Finding, list[str]] = {}
    for one in findings:
        about.setdefault(Finding(one.level, "", one.text, one.step), []).append(one.about)
    return [Finding(one.level, _names(names), one.text, one.step) for one, names in about.items()]


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) < _MANY else f"{len(names)} models"


def _key(key: KeyState) -> list[str | tuple[str, str]]:
    if key.source is None:
        return ["key of ", key.endpoint, ": none needed"]
    state, style = "there, not checked", ""
    if not key.present:
        state, style = "missing", "red"
    elif key.accepted is not None:
        state, style = ("accepted", "green") if key.accepted else ("not accepted", "red")
    left = f", {usd(key.left)} left of its limit" if key.left else ""
    return ["key of ", key.endpoint, " from ", key.source, ": ", (state, style), left]


def _models(models: Sequence[CheckedModel], *, narrow: bool) -> Table:
    used = () if narrow else (("used by", "left"), ("context", "right"))
    spent = () if narrow else (("", "right"), ("", "right"))
    table = _table(("model", "left"), *used, ("answer", "left"), *spent)
    for model in models:
        levels = {finding.level for finding in model.findings}
        style = next((style for level, style in _LEVEL.items() if level in levels), "")
        context = tokens(model.info.context_length) if model.info is not None else "?"
        id, (answer, *rest) = Text(model.id, style, overflow="fold"), _said(model)
        if narrow:
            table.add_row(id, answer)
        else:
            table.add_row(id, Text(", ".join(model.chains), "dim"), context, answer, *rest)
    return table


def _said(model: CheckedModel) -> tuple[Text, str, str]:
    """Whether it answered, after how long, for how much."""
    answer = model.answer
    if model.listed is False and (answer is None or answer.error is not None):
        return Text("does not exist", "red"), "", ""
    if answer is None:
        return Text("not called", "dim"), "", ""
    answered = Text("failed", "red") if answer.error is not None else Text("answered", "green")
    return answered, f"{answer.seconds:.2f} s", usd(answer.cost) if answer.cost is not None else ""


def _costs(report: Report) -> Table:
    load = report.load
    table = _table(
        ("chain", "left"), ("models", "right"), ("USD per 1,000 calls", "right"), ("depending on the model", "left")
    )
    for chain, cost in report.costs:
        table.add_row(Text(chain.name), str(len(chain.models)), usd(cost.first), Text(_span(cost), "dim"))
    table.caption = f"Assumed: {load.prompt_tokens:,} tokens in and {load.completion_tokens:,} out per call."
    table.caption_justify = "left"
    return table


def _span(cost: ChainCost) -> str:
    return f"{usd(cost.cheapest)} to {usd(cost.dearest)}" if cost.cheapest != cost.dearest else usd(cost.dearest)


def verdict(findings: Sequence[Finding], *, passed: bool) -> Text:
    """One line that counts the findings as they are shown: green only if there is nothing to do."""
    counts = {level: sum(finding.level == level for finding in findings) for level in ("problem", "warning")}
    said = [f"{count} {level}{'' if count == 1 else 's'}" for level, count in counts.items() if count]
    style = "red" if not passed else "yellow" if said else "green"
    well = f"Everything {'that was looked at ' if findings else ''}is as it should be."
    return Text(", ".join(said) or well, style)


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    for number, (name, justify) in enumerate(columns):
        # The first column holds ids, which are copied from here: the others give way.
        table.add_column(name, justify="right" if justify == "right" else "left", overflow="fold", no_wrap=not number)
    return table
