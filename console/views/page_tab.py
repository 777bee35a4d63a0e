"""The page of a sale: how it looks, what is published, what has changed since, and an earlier version again."""

from typing import Any

import streamlit as st

from console import page_changes, session, wording, zones
from console.sale_actions import EDITORS, refusal
from console.session import Operator
from console.settings import get_settings
from console.views import page_preview, parts, steering

REASON_LIMIT = 500


def show(sale: dict[str, Any], me: Operator) -> None:
    found = session.read(f"/operator/sales/{sale['id']}/pages")
    left, right = st.columns([1.1, 1], gap="medium")
    with left:
        page_preview.card(sale, me)
    with right:
        _published(sale, me, found)
        if found["versions"]:
            _versions(sale, me, found["versions"])


def _published(sale: dict[str, Any], me: Operator, found: dict[str, Any]) -> None:
    """What shoppers see now, and how it differs from what the sale says now."""
    with st.container(key="card-published", border=True):
        st.subheader("Published", anchor=False)
        shown = next((one for one in found["versions"] if one["current"]), None)
        if shown is None:
            when = "once the sale is scheduled" if sale["status"] == "draft" else "now"
            st.markdown(f"**Not yet.** It is published by itself when stock and links are prepared; by you, {when}.")
        else:
            address = f"{get_settings().public_url}/s/{sale['slug']}/"
            st.markdown(
                f"Shoppers see **version {shown['version']}**, {_by(shown)}, "
                f"{wording.literal(zones.reading(shown['published_at'], sale['time_zone']))}."
            )
            st.link_button("Open the shop's page", address)
            _changes(sale, found, newest=found["versions"][0]["version"] == shown["version"])
        steering.simple_actions(sale, me, ("publish",))


def _changes(sale: dict[str, Any], found: dict[str, Any], *, newest: bool) -> None:
    """What has changed since the version that is shown, and whether it will be published by itself."""
    lines = [
        f"- {wording.literal(text, 300)} :gray[· {wording.literal(line['actor'])}, "
        f"{wording.literal(zones.short(line['at'], sale['time_zone']))}]"
        for line in found["changes"]
        for text in page_changes.said(line, sale["time_zone"])
    ]
    if not lines:
        st.markdown(":green[It says what the sale says now.]" if newest else ":orange[It is not the newest version.]")
        return
    st.markdown(
        ":orange[**Changed since:**]"
        + ("" if found["up_to_date"] else " it is being published …")
        + "\n\n"
        + "\n".join(lines)
    )
    if found["up_to_date"]:
        st.caption("These changes are not on the page. “Publish page” shows them.")


def _versions(sale: dict[str, Any], me: Operator, versions: list[dict[str, Any]]) -> None:
    with st.container(key="card-versions", border=True):
        st.subheader("Versions", anchor=False)
        st.dataframe(
            [
                {
                    "Version": str(one["version"]),
                    "State": "Shown" if one["current"] else "Kept" if one["kept"] else "No longer kept",
                    "Published": zones.short(one["published_at"], sale["time_zone"]),
                    "By": wording.plain(one.get("published_by", "the clock")),
                }
                for one in versions
            ],
            hide_index=True,
            width="stretch",
            alt="Versions of the page",
        )
        shown = next((one for one in versions if one["current"]), None)
        earlier = [one["version"] for one in versions if one["kept"] and not one["current"]]
        if shown is None or sale["status"] == "cancelled":
            return
        if not earlier:
            st.caption("There is no other version to go back to.")
            return
        _roll_back(sale, me, shown["version"], earlier)


def _roll_back(sale: dict[str, Any], me: Operator, shown: int, earlier: list[int]) -> None:
    """An earlier version again, with a reason and before/after."""
    scope = f"sale {sale['id']}: page"
    why_not = refusal(me.role, EDITORS)
    with st.popover("Go back to a version …", disabled=bool(why_not), help=why_not or None, width="stretch"):
        chosen = st.selectbox("Version", earlier, key=f"{scope}-version")
        st.markdown(f"Shown: version {shown} → **version {chosen}**")
        st.caption("Shoppers see it at once. It stays until the page is published again, by you or by a change.")
        reason = st.text_input("Reason to go back", key=f"{scope}-reason", max_chars=REASON_LIMIT,
                               placeholder="Recorded with your name; auditors read it.")  # fmt: skip
        complaint = st.session_state.pop(f"{scope}-complaint", "")
        if complaint:
            st.markdown(f":red[{complaint}]")
        pressed = parts.action_button(f"Go back to version {chosen}", scope, why_not=why_not, type="primary")
        parts.show_problem(scope)
    if not pressed:
        return
    if not (reason or "").strip():
        st.session_state[f"{scope}-complaint"] = "Give a reason; it is recorded."
    else:
        body = {"version": chosen, "reason": (reason or "").strip()}
        parts.perform(scope, "POST", f"/operator/pages/{sale['id']}/rollback", body,
                      done=f"Version {chosen} is shown again.")  # fmt: skip
    st.rerun()


def _by(version: dict[str, Any]) -> str:
    who = version.get("published_by")
    return f"published by {wording.literal(who)}" if who else "published by itself"
