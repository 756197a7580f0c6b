// GET / on the admin listener: one page that asks for nothing from anywhere else.
#include "proxy/admin/routes.hpp"

namespace breakwater::admin {

std::string_view status_page() {
    return R"html(<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Breakwater</title>
<style>
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5c6b7a; --paper: #f6f8fa; --card: #fff; --line: #d9e0e7;
  --good: #1a7f4b; --warn: #a86400; --bad: #c0262d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4eaf0; --soft: #93a1af; --paper: #12181f; --card: #1a222b;
  --line: #2d3843; --good: #4cc38a; --warn: #e5a13a; --bad: #ff6b6b; } }
* { box-sizing: border-box }
body { margin: 0; padding: 1.5rem; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif }
main { max-width: 72rem; margin: auto }
header { display: flex; flex-wrap: wrap; gap: .4rem 1rem; align-items: baseline }
h1 { font-size: 1.3rem; margin: 0 } h2 { font-size: 1.05rem; margin: 0 }
.soft { color: var(--soft) } .healthy, .CLOSED, .ok { color: var(--good) }
.degraded, .HALF_OPEN, .warn { color: var(--warn) } .unhealthy, .OPEN, .fail { color: var(--bad) }
.state { font-weight: 600 } .stale { opacity: .4 }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: 1rem; margin-top: 1rem;
  overflow-x: auto }
table { border-collapse: collapse; width: 100%; margin-top: .5rem; font-variant-numeric: tabular-nums }
th { text-align: left; font-weight: 500; color: var(--soft) }
th, td { padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--line); vertical-align: top }
tr:last-child td { border-bottom: 0 }
</style>
</head>
<body>
<main>
<header><h1>Breakwater</h1><span id="status" class="state" role="status">…</span><span id="about" class="soft"></span></header>
<div id="stale" class="soft" role="alert"></div>
<div id="told">
<div id="reasons"></div>
<div id="databases"></div>
<section><h2>Surroundings</h2><table><tbody id="around"></tbody></table></section>
</div>
</main>
<script>
"use strict";
const at = id => document.getElementById(id);
// Text only ever becomes text: nothing a server says is read as HTML.
function el(tag, text, cls) { const e = document.createElement(tag); if (text !== undefined && text !== null) e.textContent = text;
  if (cls) e.className = cls; return e; }
function row(cells, tag = "td") { const r = el("tr"); for (const c of cells) r.append(Array.isArray(c) ? el(tag, c[0], c[1]) : el(tag, c));
  return r; }
const span = s => s === null ? "–" : s < 0 ? "now" : s < 60 ? s.toFixed(0) + " s" : s < 3600 ? (s / 60).toFixed(0) + " min" :
  s < 172800 ? (s / 3600).toFixed(1) + " h" : (s / 86400).toFixed(0) + " d";
const ms = s => s ? (s * 1000).toFixed(s < 0.01 ? 2 : 0) + " ms" : "–";
const pct = x => (x * 100).toFixed(0) + "%";
function show(d) {
  const now = Date.parse(d.time), ago = t => t ? span((now - Date.parse(t)) / 1000) : "–";
  at("status").textContent = d.status + (d.draining ? ", draining" : ""); at("status").className = "state " + d.status;
  at("about").textContent = d.version + " · up " + span(d.uptime_seconds);
  at("reasons").replaceChildren(...d.reasons.map(r => el("div", r, "soft")));
  const breakers = new Map(d.circuit_breakers.map(b => [b.database + "\n" + b.endpoint, b]));
  at("databases").replaceChildren(...d.databases.map(db => {
    const s = el("section"), h = el("h2", db.name + " "), t = el("table"), p = db.pool;
    h.append(el("span", db.status, db.status));
    if (!db.supported) { s.append(h, el("div", db.protocol + ": not supported yet, not served", "warn")); return s; }
    s.append(h, el("div", `${db.protocol}${db.critical ? "" : ", not critical"} · ${db.clients} clients · pool ${p.active} busy, ` +
      `${p.idle} idle, ${p.max_size} at most (${p.mode}) · ${db.waiting} waiting · ${db.holding} held` +
      (db.holding ? `, longest ${span(db.oldest_hold_seconds)}` : "") + ` · ${db.errors_avoided} errors avoided`, "soft"));
    t.append(row(["Endpoint", "Role", "Zone", "Lag", "Breaker", "For", "Next attempt", "Conns", "p50", "p99", "Why"], "th"));
    for (const e of db.endpoints) {
      const b = breakers.get(db.name + "\n" + e.address) || {};
      t.append(row([e.address, e.role, e.zone || "–", e.lag_seconds === null ? "–" : e.lag_seconds.toFixed(1) + " s",
        [e.breaker_state + (b.forced ? " (forced)" : ""), "state " + e.breaker_state], ago(b.since),
        b.next_attempt_at ? span((Date.parse(b.next_attempt_at) - now) / 1000) : "–",
        `${e.connections.active}+${e.connections.idle}`, ms(e.latency.p50_seconds), ms(e.latency.p99_seconds),
        b.reason === "backoff_exhausted" && e.last_error ? b.reason + ": " + e.last_error : b.reason || e.last_error || ""]));
    }
    s.append(t); return s; }));
  const around = [];
  if (d.memory) around.push(row(["memory", [d.memory.status, d.memory.status], d.memory.error || pct(d.memory.used_share)]));
  for (const x of d.disk) around.push(row(["disk " + x.path, [x.status, x.status], x.error || pct(x.used_share)]));
  for (const x of d.external) around.push(row([x.name, [x.status, x.status], x.last_error || ms(x.latency_seconds)]));
  at("around").replaceChildren(...around);
}
let seen = null;  // when what is shown was true
async function turn() {
  try {
    show(await (await fetch("/health/detailed", {cache: "no-store"})).json());
    seen = new Date(); at("stale").textContent = ""; at("told").className = "";
  } catch (e) {
    at("status").textContent = "not reachable"; at("status").className = "state unhealthy";
    at("stale").textContent = seen ? "Stale: what is shown is from " + seen.toLocaleTimeString() + "." : ""; at("told").className = "stale";
  }
  document.title = "Breakwater: " + at("status").textContent;
  setTimeout(turn, 1000);
}
turn();
</script>
</body>
</html>
)html";
}

}  // namespace breakwater::admin
