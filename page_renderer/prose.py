"""A merchant's longer words: Markdown in, safe markup out.

Markdown alone makes elements: HTML in the source is text. What a description needs is allowed (paragraphs, emphasis,
lists, headings, links, tables of sizes), what it could harm with is not: pictures from elsewhere, code of any kind,
links to anything but the web and mail. Headings begin below the page's title.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from markupsafe import Markup

from page_renderer.text import clean, clean_lines

_SCHEMES = ("https://", "http://", "mailto:")
_HEADING_FIRST, _HEADING_LAST = 2, 4


class _Renderer(RendererHTML):
    def link_open(self, tokens: Sequence[Token], at: int, options: OptionsDict, env: EnvType) -> str:
        # The merchant vouches for it, the shop's address does not; and the page must not be steered by what it opens.
        tokens[at].attrSet("rel", "nofollow noopener noreferrer")
        return self.renderToken(tokens, at, options, env)


def _rank_headings(tokens: Sequence[Token]) -> None:
    """The merchant's highest heading becomes the second level, below the page's title, and no level is left out:
    "###" alone is as good as "#"."""
    opening = [token for token in tokens if token.type == "heading_open"]
    ranks = {tag: _HEADING_FIRST + at for at, tag in enumerate(sorted({token.tag for token in opening}))}
    level = _HEADING_FIRST - 1
    for token in tokens:
        if token.type == "heading_open":
            level = min(ranks[token.tag], level + 1, _HEADING_LAST)
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{level}"


@cache
def _parser() -> MarkdownIt:
    # maxNesting bounds the work that "> > > >" or "[[[[" can cause.
    parser = MarkdownIt("commonmark", {"html": False, "maxNesting": 20}, renderer_cls=_Renderer)
    parser.enable(["table", "strikethrough"])
    parser.disable(["image", "html_block", "html_inline", "code", "fence"])
    parser.validateLink = _is_web_or_mail  # type: ignore[method-assign]  # its documented extension point
    return parser


def _is_web_or_mail(url: str) -> bool:
    return url.strip().lower().startswith(_SCHEMES)


def prose(text: str) -> Markup:
    """A description as markup that may stand in a page as it is."""
    parser = _parser()
    tokens = parser.parse(clean_lines(text))
    _rank_headings(tokens)
    # Nothing but the parser's own elements comes out of it: html is off and every text is escaped.
    return Markup(parser.renderer.render(tokens, parser.options, {}))  # noqa: S704


def plain(text: str) -> str:
    """The words of a description on one line, without marks, for cards and search results."""
    found: list[str] = []
    for token in _parser().parse(clean_lines(text)):
        found += [_words(child) for child in token.children or ()]
        found.append(" ")
    return clean("".join(found))


def _words(token: Any) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return " "
    return str(token.content) if token.type in ("text", "code_inline") else ""
