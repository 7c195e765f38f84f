"""Results as text for a terminal, as JSON files, and as one Markdown table a machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks import machine

RESULTS = Path(__file__).with_name("results")
Record = dict[str, Any]


def duration(us: float) -> str:
    return f"{us:.1f} us" if us < 1000 else f"{us / 1000:.2f} ms"


def verdict(target: Record) -> str:
    measured = f"{target['value']:.4g} {target['unit']}".strip()
    if target["bound"] is None:
        return f"{target['text']}: {measured}"
    state = "met" if target["met"] else "MISSED"
    return f"{target['text']}: {measured} (wanted {target['bound']} {target['unit']}".rstrip() + f"): {state}"


def good(record: Record) -> bool:
    """Every target met, losses in agreement, nothing run in Python that was called compiled."""
    return (
        all(target["met"] in (True, None) for target in record["targets"])
        and all(part["agree"] for part in record.get("agreement", {}).values())
        and not unsound(record)
    )


def unsound(record: Record) -> list[str]:
    """Reasons not to believe a race's numbers."""
    reasons = []
    if (record.get("others_cpu") or 0) > 0.03:
        reasons.append(
            f"other programs used {record['others_cpu']:.0%} of the processor meanwhile: measure again"
        )
    reasons += [f"{name} failed" for name in record.get("absent", {}) if name.startswith("lampion")]
    for name, row in record.get("contenders", {}).items():
        facts = row["facts"]
        if facts.get("fallbacks") or facts.get("callouts"):
            reasons.append(f"{name}: {facts['fallbacks']} eager fallbacks, {facts['callouts']} call-outs")
        if "unlocked" in name and not facts.get("unlocked"):
            reasons.append(f"{name}: the preloaded library is not in the process")
        # Threads spin for some milliseconds after a turn, within the pause; more went on beyond it.
        if row["idle_cpu_seconds"] > 0.5:
            reasons.append(f"{name}: used {row['idle_cpu_seconds']:.2f} s of processor time in others' turns")
    return reasons


def text(record: Record) -> str:
    """One workload, for a terminal."""
    lines = [f"== {record['title']} =="]
    if record["kind"] == "race":
        lines += race_lines(record)
    else:
        lines += [f"  {name}: {value:.4g}" if isinstance(value, float) else f"  {name}: {value}"
                  for name, value in record["facts"].items()]  # fmt: skip
    lines += [f"  -> {verdict(target)}" for target in record["targets"]]
    lines += [f"  !! {reason}" for reason in unsound(record)]
    return "\n".join(lines)


def race_lines(record: Record) -> list[str]:
    peak = record["peak_gflops"]
    others = "an unknown share" if record["others_cpu"] is None else f"{record['others_cpu']:.1%}"
    floor = f"; the work at that peak: {duration(record['floor_us'])}" if record["floor_us"] else ""
    lines = [
        f"  FMA peak: {peak['before']:.0f} GFLOP/s before, {peak['after']:.0f} after{floor}",
        f"  {record['rounds']} rounds; other programs used {others} of the processor",
        f"  {'':28}{'a step':>10}{'ratio':>8}{'of peak':>9}{'first call':>12}   loss at "
        + ", ".join(map(str, record["checked"])),
    ]
    for name, row in sorted(record["contenders"].items(), key=lambda item: item[1]["us"]):
        ratio = f"{row['times_base']:.2f}x" if row["times_base"] else ""
        share = f"{row['share_of_peak']:.0%}" if row["share_of_peak"] else ""
        losses = ", ".join(f"{loss:.6f}" for loss in row["losses"].values())
        first = f"{row['first_call_seconds']:.2f} s"
        lines.append(f"  {name:28}{duration(row['us']):>10}{ratio:>8}{share:>9}{first:>12}   {losses}")
    lines += [f"  {name}: {reason.splitlines()[-1]}" for name, reason in record["absent"].items()]
    lines += [
        f"  losses at step {step}: {'agree' if part['agree'] else 'DISAGREE'}, "
        f"spread {part['spread']:.1e} (allowed {part['allowed']:.0e})"
        for step, part in record["agreement"].items()
    ]
    return lines


def header(facts: Record) -> str:
    """The machine, for a terminal."""
    lines = [f"{facts['processor']}, {facts['cores']} cores, {facts['system']}, load {facts['load']}"]
    lines.append(", ".join(f"{name} {version}" for name, version in facts["versions"].items()))
    lines.append(", ".join(f"{name}={value}" for name, value in facts["variables"].items()))
    return "\n".join(lines)


def save(record: Record, folder: Path) -> None:
    """Write one record, and renew the folder's table."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{record['workload']}.json").write_text(json.dumps(record, indent=1) + "\n")
    (folder / "README.md").write_text(markdown(folder))


def markdown(folder: Path) -> str:
    """The folder's records as a page."""
    records = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    facts = records[-1]["machine"]
    lines = [
        f"# {facts['processor']}, {facts['cores']} cores",
        "",
        "Made by `python -m benchmarks`. How it measures, and why so: [benchmarks](../../README.md).",
    ]
    for record in records:
        lines += ["", f"## {record['title']}", ""]
        if record["kind"] == "race":
            lines += race_table(record)
        else:
            lines += [f"- {name}: {value}" for name, value in record["facts"].items()]
        if record["targets"]:
            lines += ["", "| what | measured | wanted | |", "|---|---|---|---|"]
        for target in record["targets"]:
            wanted = f"{target['bound']} {target['unit']}".strip() if target["bound"] else ""
            state = {True: "met", False: "**missed**", None: ""}[target["met"]]
            measured = f"{target['value']:.4g} {target['unit']}".strip()
            lines.append(f"| {target['text']} | {measured} | {wanted} | {state} |")
        lines += [f"- {reason}" for reason in unsound(record)]
        seen = record["machine"]
        versions = ", ".join(f"{name} {version}" for name, version in seen["versions"].items())
        variables = ", ".join(f"{k}={v}" for k, v in seen["variables"].items() if v != "(unset)")
        lines += ["", f"Commit {seen['commit']}, load {seen['load']}; {versions}; "
                      f"thread and BLAS variables: {variables or 'all unset'}."]  # fmt: skip
    return "\n".join(lines) + "\n"


def race_table(record: Record) -> list[str]:
    peak = record["peak_gflops"]
    lines = [
        "| contender | a step | against compiled Lampion | share of FMA peak | first call |",
        "|---|---|---|---|---|",
    ]
    for name, row in sorted(record["contenders"].items(), key=lambda item: item[1]["us"]):
        ratio = f"{row['times_base']:.2f}x" if row["times_base"] else ""
        share = f"{row['share_of_peak']:.0%}" if row["share_of_peak"] else ""
        lines.append(
            f"| {name} | {duration(row['us'])} | {ratio} | {share} | {row['first_call_seconds']:.2f} s |"
        )
    spreads = ", ".join(f"{part['spread']:.1e} at step {step}" for step, part in record["agreement"].items())
    lines += [
        "",
        f"FMA peak {max(peak['before'], peak['after']):.0f} GFLOP/s; losses apart by at most {spreads}.",
    ]
    return lines


def folder() -> Path:
    """Where this machine's results go."""
    return RESULTS / machine.slug()
