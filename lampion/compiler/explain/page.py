"""An explanation as a notebook shows it: tables, and what is behind them to unfold. No scripts."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lampion.compiler.explain import Explanation, PlanExplanation

_TABLE = 'style="border-collapse:collapse;font-size:85%"'
_NUMBER = 'style="padding:1px 8px;text-align:right;border:1px solid #8884;white-space:nowrap"'
_WORD = 'style="padding:1px 8px;text-align:left;border:1px solid #8884"'
_TEXT = 'style="font-size:85%;max-height:28em;overflow:auto;line-height:1.25"'
_LEFT = ("kernel", "points", "what it computes")


def html(explanation: Explanation) -> str:
    """The whole of it."""
    parts = [f"<b>{escape(explanation.name)}</b> · recorded {explanation.traces} time(s)"]
    if explanation.eager is not None:
        parts.append(f" · runs eagerly: {escape(explanation.eager)}")
    for number, plan in enumerate(explanation.plans):
        parts.append(f"<p>plan {number}: {escape(plan.head)}</p>{_plan(plan)}")
        for gradient in plan.gradients:
            title = f"{gradient.title} of plan {number}"
            parts.append(f"<p>{title}: {escape(gradient.head)}</p>{_plan(gradient)}")
    return f"<div>{''.join(parts)}</div>"


def _plan(plan: PlanExplanation) -> str:
    if not plan.native:
        return f"<p>interpreted: {escape(plan.reason)}</p>" + _unfold("graph", str(plan.recorded))
    texts = {
        "graph as recorded": str(plan.recorded),
        "graph after the passes": str(plan.optimized),
        "what was fused into what": plan.fused(),
        "kernels as loops": plan.loops(),
    }
    return _table(plan.rows()) + "".join(_unfold(title, text) for title, text in texts.items())


def _table(rows: list[list[str]]) -> str:
    titles, *rows = rows
    styles = [_WORD if title in _LEFT else _NUMBER for title in titles]
    head = "".join(f"<th {style}>{escape(word)}</th>" for word, style in zip(titles, styles, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td {style}>{escape(word)}</td>" for word, style in zip(row, styles, strict=True))
        + "</tr>" for row in rows
    )  # fmt: skip
    return f"<table {_TABLE}><tr>{head}</tr>{body}</table>"


def _unfold(title: str, text: str) -> str:
    return f"<details><summary>{escape(title)}</summary><pre {_TEXT}>{escape(text)}</pre></details>"
