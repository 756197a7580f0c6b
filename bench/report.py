"""From samples to medians, ratios and verdicts; and those as one markdown table. Pure: no process, no clock."""
import statistics

# (what is compared, cell, ours, theirs, at most so many times)
CPU_LIMITS = (
    [(f"pgbench -S {mode}, {clients} clients: CPU per query, transaction mode", f"{mode}, {clients} clients", "breakwater", "pgbouncer", 1.0)
     for mode in ("simple", "extended") for clients in (8, 64)] +
    [(f"pgbench -S prepared, {clients} clients: CPU per query, ours in transaction mode, theirs in session mode",
      f"prepared, {clients} clients", "breakwater", "pgbouncer session", 1.1) for clients in (8, 64)] +
    [("1 MiB rows: CPU per row, transaction mode", "1 MiB rows, 8 clients", "breakwater", "pgbouncer", 0.5)])
IDLE_LIMIT_KIB = 4.0
WORKERS_LIMIT = 1.7
KEYS = ("cpu_us", "server_cpu_us", "tps", "latency_ms")


def median(values):
    values = [v for v in values if v is not None]
    return statistics.median(values) if values else None


def paired(ours, theirs, key):
    """The median of the rounds' ratios: both sides of each were measured within seconds of one another."""
    return median([a[key] / b[key] for a, b in zip(ours, theirs) if a and b and b[key]])


def summarise(results):
    cells = {}
    for name, variants in results["cells"].items():
        cells[name] = {}
        for variant, samples in variants.items():
            row = {key: median([s[key] for s in samples if s]) for key in KEYS}
            row["rounds"] = sum(1 for s in samples if s)
            spread = [s["cpu_us"] for s in samples if s]
            row["cpu_us_range"] = [min(spread), max(spread)] if spread else None
            cells[name][variant] = row
        for variant, row in cells[name].items():
            for rival in ("pgbouncer", "pgbouncer session", "direct"):
                if variant != rival and variants.get(rival):
                    row[f"ratio_to_{rival.replace(' ', '_')}"] = {
                        key: paired(variants[variant], variants[rival], key) for key in KEYS}
    return {"cells": cells, "idle": results["idle"], "crowd": results["crowd"], "workers": workers(results["workers"]),
            "syscalls": results["syscalls"], "limits": limits(results), "problems": results["problems"]}


def workers(samples):
    if not samples or not samples["one"] or not samples["two"]:
        return {}
    held = all(s["held"] for s in samples["one"] + samples["two"])
    key = "tps" if held else "capacity_tps"
    return {"share": samples["share"], "held": held, "measured": key,
            "one": median([s["tps"] for s in samples["one"]]), "two": median([s["tps"] for s in samples["two"]]),
            "ratio": paired(samples["two"], samples["one"], key),
            "capacity_ratio": paired(samples["two"], samples["one"], "capacity_tps")}


def limits(results):
    rows = []

    def add(what, value, limit, at_least=False, unit="x"):
        good = value is not None and (value >= limit if at_least else value <= limit)
        rows.append({"what": what, "value": value, "limit": limit, "sense": "at least" if at_least else "at most", "unit": unit,
                     "verdict": "not measured" if value is None else "ok" if good else "over"})

    for what, cell, ours, theirs, limit in CPU_LIMITS:
        found = results["cells"].get(cell)
        if found:
            add(what, paired(found.get(ours, []), found.get(theirs, []), "cpu_us"), limit)
    if results["idle"]:
        mine = results["idle"].get("breakwater")
        add("memory per idle client after login", mine and mine["kib_per_client"], IDLE_LIMIT_KIB, unit=" KiB")
        add("memory per idle client after one query", mine and mine["kib_per_client_after_one_query"], IDLE_LIMIT_KIB, unit=" KiB")
    if results["crowd"]:
        mine = results["crowd"].get("breakwater")
        count = max(c["clients"] for c in results["crowd"].values())
        add(f"clients of {count} at once that were served", mine and mine["answered"], count, at_least=True, unit="")
    if results["workers"]:
        add("throughput of two workers beside one", workers(results["workers"]).get("ratio"), WORKERS_LIMIT, at_least=True)
    return rows


def number(value, digits=1):
    return "–" if value is None else f"{value:,.{digits}f}"


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def rival_of(variant, cell):
    """PgBouncer in the same mode where it has one, else in session mode (prepared statements)."""
    if variant.endswith("session") or "pgbouncer" not in cell:
        return "pgbouncer_session"
    return "pgbouncer"


def markdown(whole):
    rows = []
    for name, cell in whole["cells"].items():
        for variant, row in cell.items():
            ratio = row.get(f"ratio_to_{rival_of(variant, cell)}", {})
            cpu = None if variant == "direct" else row["cpu_us"]
            span = row["cpu_us_range"]
            rows.append([f"{name}: {variant}", number(cpu),
                         "–" if cpu is None or not span else f"{span[0]:,.1f}–{span[1]:,.1f}",
                         "–" if cpu is None else number(ratio.get("cpu_us"), 2), number(row["server_cpu_us"]), number(row["tps"], 0),
                         number(ratio.get("tps"), 2), number(row["latency_ms"], 3), number(ratio.get("latency_ms"), 2)])
    for name, row in whole["idle"].items():
        rows.append([f"{row['clients']:,} idle clients: {name}: KiB each (after one query)",
                     f"{row['kib_per_client']:.2f} ({row['kib_per_client_after_one_query']:.2f})"] + ["–"] * 7)
    for name, row in whole["crowd"].items():
        told = f"{row['answered']:,} served in {row['serve_s']:.2f} s" if "serve_s" in row else "failed"
        rows.append([f"{row['clients']:,} clients at once: {name}", told] + ["–"] * 7)
    for name, modes in whole["syscalls"].items():
        for mode, row in modes.items():
            rows.append([f"system calls per query, {mode}: {name}", number(row["per_query"], 2)] + ["–"] * 7)
    if two := whole["workers"]:
        how = f"each held to {two['share']:.0%} of a core" if two["held"] else "not held: capacity of the busiest worker"
        rows.append([f"1 worker ({how})"] + ["–"] * 4 + [number(two["one"], 0)] + ["–"] * 3)
        rows.append([f"2 workers ({how})"] + ["–"] * 4 + [number(two["two"], 0), f"{number(two['ratio'], 2)} of one"] + ["–"] * 2)
    for row in whole["limits"]:
        value = number(row["value"], 0 if row["unit"] == "" else 2)
        limit = number(row["limit"], 0 if row["unit"] == "" else 2)
        rows.append([f"**{row['verdict']}**: {row['what']}", f"{value}{row['unit']} ({row['sense']} {limit}{row['unit']})"] + ["–"] * 7)
    lines = table(["", "CPU µs/query", "range", "÷ PgBouncer", "PostgreSQL µs", "tps", "÷ PgBouncer", "latency ms", "÷ PgBouncer"], rows)
    if whole["problems"]:
        lines += ["", "Problems:"] + [f"- {p.splitlines()[0]}" for p in whole["problems"]]
    return "\n".join(lines)
