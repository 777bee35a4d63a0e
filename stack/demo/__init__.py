"""The sample sale: real servers, a sale made through the operator API, shoppers over the real edge, the audit."""
