"""Writes a page of the audit: one document without outside addresses or scripts, whole or not at all.

Called by `tasks.bias_page` and `tasks.review_page`; whatever people or data say in it is escaped.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import jinja2

TEMPLATES = Path(__file__).resolve().parent / "templates"


def write(page: Path, template: str, **facts: Any) -> Path:
    """Writes the page at this path; a repeat replaces it."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined
    )
    text = environment.get_template(template).render(**facts)
    page.parent.mkdir(parents=True, exist_ok=True)
    temporary = page.with_name(f".{page.name}.{uuid.uuid4().hex}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(page)
    return page
