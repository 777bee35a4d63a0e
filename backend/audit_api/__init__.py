"""The auditors' HTTP surface: the balance now, reconciliation runs, the ledger itself."""

from backend.audit_api import activity, evidence
from backend.audit_api.routes import router

router.include_router(evidence.router)
router.include_router(activity.router)

__all__ = ["router"]
