"""What is wrong in a sale now, and what fits it: the fault that stopped it, its recovery, and what does not answer."""

from typing import Any

import streamlit as st

from console import faults, health, navigation, wording, zones


def show(sale: dict[str, Any], now: dict[str, Any]) -> None:
    """The most urgent first: who is kept out now, then what is slow or down. Nothing when all is well."""
    if now.get("fault"):
        _fault(sale, now)
    for one in health.complaints(health.all_of(now.get("dependencies", {}))):
        colour = "red" if one.level == "bad" else "orange"
        with st.container(key=f"card-{colour}-{one.name.lower()}", border=True):
            st.markdown(f":{colour}[**{wording.literal(one.meaning)}**]  \n{wording.literal(one.advice, 400)}")


def _fault(sale: dict[str, Any], now: dict[str, Any]) -> None:
    fault = str(now["fault"])
    found = faults.advice(fault, str(sale.get("recovery", "automatic")))
    stopped = faults.since(fault, now["events"])
    when = f" since {zones.local(stopped, sale['time_zone']):%H:%M:%S}" if stopped else ""
    lines = [
        f":red[**Stopped by the platform{when}.** {found.what}] Nobody is admitted; pages, orders and tickets stay."
    ]
    if found.under_way:
        lines.append(f"**Under way.** {found.under_way}{_progress(now)}")
    lines.append(f"**What to do.** {found.do}")
    if found.before_resuming:
        lines.append(f"**Before you resume.** {found.before_resuming}")
    with st.container(key="card-red-fault", border=True):
        st.markdown("  \n".join(lines))
        if found.tab:
            navigation.link("sale", f"**{found.way} →**", sale=sale["id"], tab=found.tab)


def _progress(now: dict[str, Any]) -> str:
    """How far the recovery is, as far as the API says: its steps and figures by name."""
    block = now.get("recovery")
    if not isinstance(block, dict):
        return ""
    said = wording.said({name: value for name, value in block.items() if value not in (None, "", [], {})})
    return f" So far: {wording.literal(said, 300)}." if said else ""


def resume_warning(sale: dict[str, Any]) -> str:
    """What has to be true before the sale of this fault is resumed, for the dialog that asks for the reason."""
    found = faults.advice(str(sale["fault"]), str(sale.get("recovery", "automatic")))
    return f"{found.what} {found.before_resuming}".strip()
