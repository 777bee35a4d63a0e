"""Small tools without a domain: identifiers, encodings, errors, logs, text rules."""
