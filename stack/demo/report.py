"""What the demo prints: a line a second while it runs, and the reckoning."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from stack.demo.witness import Witness


@dataclass(slots=True)
class Report:
    """The end of a sample sale, by three records: the crowd's, the gate's and ledger's, the auditor's."""

    sale: Any
    stock: int
    witness: Witness
    run: Any
    balance: Any
    elapsed_s: float
    mails: int = 0

    @property
    def sold(self) -> int:
        """Units sold by the ledger."""
        return sum(item["ledger"]["sold"] for item in self.balance["items"])

    @property
    def live(self) -> int:
        """Reservations that hold units: reserved and sold."""
        return sum(item["ledger"]["reserved"] + item["ledger"]["sold"] for item in self.balance["items"])

    def failures(self) -> list[str]:
        """Why the demo's exit status is not 0; empty when every unit is explained."""
        found = list(self.witness.broken)
        found += [
            f"{name} is {self.run[name]}"
            for name in ("oversold", "stranded", "drift", "duplicates")
            if self.run[name] != 0
        ]
        if self.run["verdict"] != "clean":
            found += [f"finding: {finding}" for finding in self.run["findings"][:10]]
        if self.live != self.stock:
            found.append(f"{self.live} of {self.stock} units are held by somebody, though more wanted one")
        return found


class Screen:
    """Prints to a terminal or a log alike: plain lines, no cursor tricks."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._at_s: int | None = None

    def scheduled(self, slug: str, opens_at: datetime, shoppers: int, stock: int) -> None:
        """The sale is made."""
        self._console.print(
            f"[bold]{slug}[/bold]: {stock} pieces, {shoppers:,} shoppers, opens at {opens_at:%H:%M:%S} UTC by itself"
        )

    def preflight(self, checks: list[str]) -> None:
        """Everything is in place."""
        self._console.print(f"pre-flight: {', '.join(checks)}: [green]ready[/green]")

    def live(self, live: Any, witness: Witness) -> None:
        """One line about this second."""
        item = live["items"][0]
        outcomes = witness.outcomes
        words = (
            f"{live['status']:<9} sold {item['sold']:>5}  reserved {item['reserved']:>5}  "
            f"available {item['available']:>5}  backlog {live['backlog']:>4}  drift {live['drift']}  │ "
            f"accepted {len(witness.tickets):>5}  throttled {outcomes['THROTTLED']:>5}  "
            f"repeated {outcomes['REPEATED']:>5}  sold out {outcomes['SOLD_OUT']:>6}  "
            f"refused links {outcomes['LINK_INVALID']:>4}  too early {outcomes['NOT_OPEN']:>4}"
        )
        self._console.print(words, highlight=False)

    def no_view(self, why: str) -> None:
        """This second's reading did not come; the sale goes on without it."""
        self._console.print(f"[dim]no view: {why}[/dim]", highlight=False)

    def report(self, report: Report) -> None:
        """The reckoning."""
        witness, run = report.witness, report.run
        table = Table(title="Reconciliation", show_header=False, title_justify="left")
        table.add_column(style="dim")
        table.add_column(justify="right")
        first = witness.first_accepted_s
        expired = sum(1 for one in witness.tickets.values() if one.status == "expired")
        rows = {
            "first acceptance after opening": "none"
            if first is None
            else f"{(first - witness.opens_at_s) * 1000:.0f} ms",
            "tickets given (202), each decided": f"{len(witness.tickets):,}, {len(witness.undecided())} undecided",
            "holds that ran out and went to others": f"{expired:,}",
            "live reservations": f"{report.live:,} of {report.stock:,}",
            "sold": f"{report.sold:,}",
            "answers the crowd got": f"{sum(witness.outcomes.values()):,} in {report.elapsed_s:.0f} s",
            "requests without an answer": f"{witness.unknown:,}",
            "mails delivered": f"{report.mails:,}",
            "oversold": str(run["oversold"]),
            "stranded": str(run["stranded"]),
            "drift": str(run["drift"]),
            "duplicates": str(run["duplicates"]),
            "verdict": str(run["verdict"]),
        }
        for name, value in rows.items():
            table.add_row(name, value)
        self._console.print(table)
        for failure in report.failures():
            self._console.print(f"[red]not right:[/red] {failure}", highlight=False)
