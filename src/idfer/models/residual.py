"""Residual modules by the name of their form (`idfer.models.forms`)."""

from __future__ import annotations

from idfer.catalogue import FORMS
from idfer.errors import UsageError, unknown
from idfer.models.forms.form import ResidualForm
from idfer.models.forms.plain import Plain
from idfer.names import is_path, load_object


def residual_modules(form: str, attributes: int, dim_in: int, dim: int, embedding: int = 0) -> ResidualForm:
    """Residual modules of a form; without attributes those of the plain regressor, in every form.

    Args:
        form: of `FORMS`, or a class of one's own as `module:Class`.
        attributes: A >= 0.
        dim_in: F, width of the backbone's features.
        dim: D, width of expression and identity features.
        embedding: E, width of retrieved ID vectors; only forms that read them need it.

    Raises:
        UsageError: an unknown form, or a class that is none.
    """
    chosen = form_class(form)
    kind = chosen if attributes else Plain
    modules = kind(attributes, dim_in, dim, embedding)
    modules.form = form
    return modules


def form_class(form: str) -> type[ResidualForm]:
    """The class of a form; raises as `residual_modules`."""
    if form not in FORMS and not is_path(form):
        raise unknown("residual form", form, list(FORMS), "Or give a class of your own as module:Class.")
    kind = load_object(FORMS.get(form, form), "form")
    if not (isinstance(kind, type) and issubclass(kind, ResidualForm)):
        raise UsageError(f"form {form!r} is not a subclass of idfer.models.forms.form:ResidualForm.")
    return kind
