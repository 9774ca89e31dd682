"""One house style: every HTML page of idfer is a template of this room, filled in and written whole.

A page is one file that needs no network, no script and no font; pictures are inside it. All extend
`templates/page.html.jinja`, which has the style sheet and says in its head that idfer made the page.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from idfer.files import atomic
from idfer.reporting.style import number


def write_page(template: str, path: str | Path, **content: Any) -> Path:
    """Fill a template in and write the page.

    Args:
        template: a file of `templates`.
        path: the HTML file.
        content: what the template names; a missing name is an error.

    Raises:
        IdferError: the file cannot be written; what stood there is kept.
    """
    import jinja2

    from idfer.version import __version__

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("idfer.reporting"), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["number"] = number
    page = environment.get_template(template).render(version=__version__, **content)
    with atomic(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
    return Path(path)
