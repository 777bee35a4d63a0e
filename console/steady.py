"""Live charts that stay: a chart with a key keeps its identity from tick to tick.

Streamlit makes a chart's identity from its whole figure, key or not, so that each new figure is a new chart to the
browser: the old one is taken down and another drawn, once a second, with an empty card in between on a busy machine,
and zooming is lost. With the key as identity the browser hands the new figure to the chart that is there.
"""

from typing import Any

from streamlit.elements import plotly_chart

# A name that the module imports for itself: what it is replaced with is asked in its place.
_element: Any = plotly_chart
_by_figure = _element.compute_and_register_element_id


def _by_key(element_type: str, *, user_key: str | None, key_as_main_identity: Any, **rest: Any) -> str:
    by_key = user_key is not None or key_as_main_identity
    return str(_by_figure(element_type, user_key=user_key, key_as_main_identity=by_key, **rest))


def install() -> None:
    """Take over how Streamlit names its charts; twice is as good as once."""
    _element.compute_and_register_element_id = _by_key
