"""The audit of one sale: its balance now, and runs that compare gate, journal and ledger."""

from typing import Any

import streamlit as st

from console import downloads, findings, navigation, poller, session, wording, zones
from console.sale_actions import RECONCILERS, refusal
from console.session import Operator
from console.views import parts

TOLD_LIMIT = 20
"""Findings told in full: one broken rule can break for every order at once, and the first of them say why."""
LISTED_LIMIT = 500
REMARK_LIMIT = 500
_COUNTS = ("oversold", "stranded", "drift", "duplicates")


def show(sale: dict[str, Any], me: Operator) -> None:
    scope = f"sale {sale['id']}: reconcile"
    head, button = st.columns([3, 1], vertical_alignment="center")
    head.markdown(":gray[A run re-derives every unit from journal and ledger, and names what it cannot explain.]")
    with button:
        pressed = parts.action_button(
            "Run reconciliation",
            scope,
            once=True,
            why_not=refusal(me.role, RECONCILERS),
            type="primary",
            width="stretch",
        )
    parts.show_problem(scope)
    if pressed:
        path = f"/audit/sales/{sale['id']}/reconciliations"
        reply = parts.perform(scope, "POST", path, {}, done="Reconciliation finished.")
        if reply is not None:
            st.session_state["reconciliation-chosen"] = reply.data["id"]
            poller.forget(sale["id"])
        st.rerun()
    runs = session.read(f"/audit/sales/{sale['id']}/reconciliations")["reconciliations"]
    if runs:
        chosen = _runs(sale["id"], runs, sale["time_zone"])
        _sign_off(sale, chosen, me)
    else:
        parts.empty("No runs yet", "While a sale is live one runs by itself every few seconds.")
    _balance(sale)


def _sign_off(sale: dict[str, Any], run_id: str, me: Operator) -> None:
    """Who stands for this run, and the form to do so."""
    scope = f"run {run_id}: sign off"
    zone = sale["time_zone"]
    signed = [
        one for one in session.read(f"/audit/sales/{sale['id']}/sign-offs")["sign_offs"] if one["run_id"] == run_id
    ]
    with st.container(key="card-sign-off", border=True):
        st.markdown("**Sign-off**")
        for one in signed:
            st.markdown(
                f":green[✓] **{wording.literal(one['email'])}** ({wording.literal(one['role'])}), "
                f"{zones.reading(one['at'], zone)}: “{wording.literal(one['remark'], 500)}”"
            )
        if not signed:
            st.caption("Nobody has signed this run off. A sign-off is recorded with your name and stays.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            remark = st.text_input("Remark", key=f"{scope}-remark", max_chars=REMARK_LIMIT,
                                   placeholder="What you checked, and what you found")  # fmt: skip
            pressed = parts.action_button("Sign off", scope, why_not=refusal(me.role, RECONCILERS), once=True)
        complaint = st.session_state.pop(f"{scope}-complaint", "")
        if complaint:
            st.markdown(f":red[{complaint}]")
        parts.show_problem(scope)
        if pressed:
            if not (remark or "").strip():
                st.session_state[f"{scope}-complaint"] = "Write a remark: it is what you stand for."
            else:
                path = f"/audit/reconciliations/{run_id}/sign-off"
                parts.perform(scope, "POST", path, {"reason": (remark or "").strip()}, done="Signed off.")
            st.rerun()


def _runs(sale_id: str, runs: list[dict[str, Any]], zone: str) -> str:
    by_id = {run["id"]: run for run in runs}
    if st.session_state.get("reconciliation-chosen") not in by_id:
        st.session_state["reconciliation-chosen"] = runs[0]["id"]
    with st.container(key="card-run", border=True):
        chosen = st.selectbox(
            "Run",
            list(by_id),
            key="reconciliation-chosen",
            format_func=lambda i: f"{zones.short(by_id[i].get('finished_at'), zone)} · {by_id[i]['verdict']}",
        )
        _run(sale_id, session.read(f"/audit/reconciliations/{chosen}"))
    with st.expander(f"All runs ({len(runs)})"):
        st.dataframe(
            [
                {
                    "Finished": zones.short(run.get("finished_at"), zone),
                    "Verdict": wording.kind(run["verdict"]),
                    **{name.capitalize(): run.get(name) for name in _COUNTS},
                    "Started by": wording.kind(str(run.get("trigger", "–"))),
                }
                for run in runs
            ],
            hide_index=True,
            width="stretch",
            alt="Reconciliation runs",
        )
    return str(chosen)


def _run(sale_id: str, run: dict[str, Any]) -> None:
    clean = run["verdict"] == "clean"
    if clean:
        st.markdown(":green[**Clean.** Every unit is available, reserved, sold, or explained.]")
    else:
        st.markdown(f":red[**Findings: {len(run.get('findings', []))}.** Not every unit is explained.]")
    with st.container(horizontal=True):
        for name in _COUNTS:
            st.metric(name.capitalize(), wording.count(run.get(name, 0)), width=120)
    _findings(sale_id, run.get("findings", []))
    parts.download_links(
        ("Download JSON", downloads.reconciliation_href(run["id"], "json")),
        ("Download CSV", downloads.reconciliation_href(run["id"], "csv")),
        ("Download report (HTML)", downloads.reconciliation_href(run["id"], "html")),
    )


def _findings(sale_id: str, found: list[dict[str, Any]]) -> None:
    """Each of the first findings in words, with the way to what it names; the rest as a list."""
    for index, one in enumerate(findings.of(finding) for finding in found[:TOLD_LIMIT]):
        with st.container(key=f"finding-{index}", border=True):
            st.markdown(
                f"**{wording.literal(one.message, 400)}**  \n:gray[{wording.literal(one.rule)} promises: "
                f"{wording.literal(one.promise, 300)}]  \n**What to do:** {wording.literal(one.advice, 300)}"
                + (f"  \n:gray[{wording.literal(one.figures, 400)}]" if one.figures else "")
            )
            with st.container(horizontal=True):
                if one.order:
                    navigation.link("sale", "Its order →", sale=sale_id, tab="Orders", q=one.order)
                if one.cause:
                    navigation.link("sale", "Its ledger entries →", sale=sale_id, tab="Ledger", cause=one.cause)
    rest = found[TOLD_LIMIT:LISTED_LIMIT]
    if rest:
        st.dataframe(
            [{"Rule": one.rule, "What": one.message, "Names": one.figures} for one in map(findings.of, rest)],
            hide_index=True, width="stretch", alt="Further findings",
        )  # fmt: skip
    if len(found) > LISTED_LIMIT:
        st.caption(f"The first {LISTED_LIMIT} of {len(found)}; the download has all.")


def _balance(sale: dict[str, Any]) -> None:
    with st.container(key="card-balance", border=True):
        st.markdown("**Balance now**")
        balance = session.read(f"/audit/sales/{sale['id']}/balance")
        zone = sale["time_zone"]
        st.dataframe(
            [
                {
                    "SKU": wording.plain(i["sku"]),
                    "Allotment": i["allotment"],
                    "Ledger available": i["ledger"]["available"],
                    "Reserved": i["ledger"]["reserved"],
                    "Sold": i["ledger"]["sold"],
                    "Gate available": i.get("gate", {}).get("available"),
                    "Gate held": i.get("gate", {}).get("held"),
                    "In flight": i["in_flight"],
                    "Drift": i["drift"],
                }
                for i in balance["items"]
            ],
            hide_index=True,
            width="stretch",
            alt="Balance by item",
        )
        read = [
            f"{name} read {zones.local(stamp, zone):%H:%M:%S}"
            for name, stamp in (
                ("ledger", next((i["ledger"].get("read_at") for i in balance["items"]), None)),
                ("gate", next((i.get("gate", {}).get("read_at") for i in balance["items"]), None)),
            )
            if stamp
        ]
        st.caption(
            f"Oversold {balance['oversold']} · stranded {balance['stranded']} · drift {balance['drift']}. "
            "Drift is the gate's available less what ledger and journal expect. " + wording.sentence(", ".join(read))
        )
