"""The auditors' HTTP surface: the balance now, reconciliation runs, the ledger itself."""

from backend.audit_api import evidence
from backend.audit_api.routes import router

router.include_router(evidence.router)

__all__ = ["router"]
