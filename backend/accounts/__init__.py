"""Merchants, operators and their commands; shoppers, their sign-in codes and bearer tokens."""

from backend.accounts.commands import (
    Answer,
    CommandCall,
    Done,
    record_refusal,
    run_command,
    run_in_steps,
)
from backend.accounts.passwords import Hashing
from backend.accounts.people import change_operator, end_session, operator_of, operators_of, sessions_of
from backend.accounts.service import Actor, SignedIn, actor_of, add_operator, sign_in, sign_out
from backend.accounts.shopper_tokens import (
    KEY_LABEL as SHOPPER_TOKEN_LABEL,
)
from backend.accounts.shopper_tokens import (
    TOKEN_TTL_S as SHOPPER_TOKEN_TTL_S,
)
from backend.accounts.shopper_tokens import (
    ShopperTokens,
    issue_shopper_token,
)
from backend.accounts.shoppers import CodeKey, create_shoppers, redeem_code, request_code

__all__ = [
    "SHOPPER_TOKEN_LABEL",
    "SHOPPER_TOKEN_TTL_S",
    "Actor",
    "Answer",
    "CodeKey",
    "CommandCall",
    "Done",
    "Hashing",
    "ShopperTokens",
    "SignedIn",
    "actor_of",
    "add_operator",
    "change_operator",
    "create_shoppers",
    "end_session",
    "issue_shopper_token",
    "operator_of",
    "operators_of",
    "record_refusal",
    "redeem_code",
    "request_code",
    "run_command",
    "run_in_steps",
    "sessions_of",
    "sign_in",
    "sign_out",
]
