"""The auditors' HTTP surface: the balance now, reconciliation runs, the ledger itself."""

from backend.audit_api.routes import router

__all__ = ["router"]
