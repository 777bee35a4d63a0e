"""Merchants, operators and their commands; shoppers, their sign-in codes and bearer tokens."""

from backend.accounts.activity_chain import SealKey
from backend.accounts.activity_check import Checked, Kept, check_activity, merchants_named, reseal
from backend.accounts.commands import (
    Answer,
    CommandCall,
    Done,
    record_read,
    record_refusal,
    run_command,
    run_in_steps,
)
from backend.accounts.passwords import Hashing
from backend.accounts.people import change_operator, end_session, operator_of, operators_of, sessions_of
from backend.accounts.service import Actor, SignedIn, actor_of, add_operator, sign_in, sign_out
from backend.accounts.shop_tokens import TOKEN_MAX_CHARS as SHOP_TOKEN_MAX_CHARS
from backend.accounts.shop_tokens import ShopTokens
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
from backend.accounts.shoppers import CodeKey, create_shoppers, redeem_code, redeem_shop_token, request_code

__all__ = [
    "SHOPPER_TOKEN_LABEL",
    "SHOPPER_TOKEN_TTL_S",
    "SHOP_TOKEN_MAX_CHARS",
    "Actor",
    "Answer",
    "Checked",
    "CodeKey",
    "CommandCall",
    "Done",
    "Hashing",
    "Kept",
    "SealKey",
    "ShopTokens",
    "ShopperTokens",
    "SignedIn",
    "actor_of",
    "add_operator",
    "change_operator",
    "check_activity",
    "create_shoppers",
    "end_session",
    "issue_shopper_token",
    "merchants_named",
    "operator_of",
    "operators_of",
    "record_read",
    "record_refusal",
    "redeem_code",
    "redeem_shop_token",
    "request_code",
    "reseal",
    "run_command",
    "run_in_steps",
    "sessions_of",
    "sign_in",
    "sign_out",
]
