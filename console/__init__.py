"""Stampede's operator console: a Streamlit application that speaks HTTP to the operator API.

It holds no rule of its own. Every figure it shows comes from the API with the operator's own token,
every action goes through the API, and the API alone decides who may do what. `python -m console
--port P` starts it (see `console.__main__`); `console.server` puts the ASGI application together.
"""
