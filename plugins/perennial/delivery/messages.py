"""What a message says: Jinja templates of the company under config/templates, in a sandbox.

`<message>.txt` is the text, and begins with a line `Subject: ...` where it is for e-mail; `<message>.html` is the same
in HTML, and may be left out. A card's `message` names them. A template sees the merge fields of the list by the
destination's names, `client_key`, `campaign_id`, `channel`, `as_of`, in e-mail `unsubscribe_url`, and nothing else. A
field without a value that it shows stops the row: nobody is greeted as "Hi None".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from perennial.core.errors import ConfigError, Problem, RowRejected

FOLDER = "templates"
LIST_NAMES = frozenset({"campaign_id", "channel", "as_of", "client_key"})
UNSUBSCRIBE = "unsubscribe_url"
_SUBJECT = "subject:"
_LONGEST_SUBJECT = 200
_FIX = "declare a default for the field (merge_defaults of the card, defaults of the destination), or test it with if"


@dataclass(frozen=True)
class Said:
    """One message as one recipient gets it."""

    subject: str
    text: str
    html: str | None = None


class MissingValueError(RowRejected):
    """A template shows a field that this row has no value for; the problem names the field, and no person."""


class Wording:
    """The template of one message. Raises ConfigError when there is none, or when it cannot be one."""

    def __init__(self, folder: Path, message: str) -> None:
        self._where = f"{FOLDER}/{message}"
        source = _read(folder, message, ".txt")
        if source is None:
            fix = f"write {self._where}.txt: `Subject: ...`, an empty line, the text"
            raise ConfigError(Problem(f"{self._where}.txt", "there is no such template", fix))
        first, _, rest = source.partition("\n")
        has_subject = first.lower().startswith(_SUBJECT)
        self._subject = _compiled(f"{self._where}.txt", first[len(_SUBJECT) :].strip()) if has_subject else None
        self._text = _compiled(f"{self._where}.txt", rest.lstrip("\n") if has_subject else source)
        html = _read(folder, message, ".html")
        self._html = _compiled(f"{self._where}.html", html, html=True) if html is not None else None

    @property
    def has_subject(self) -> bool:
        """Whether it can be an e-mail."""
        return self._subject is not None

    @property
    def has_html(self) -> bool:
        """Whether it has an HTML part."""
        return self._html is not None

    @property
    def names(self) -> set[str]:
        """The fields that it shows."""
        parts = (self._subject, self._text, self._html)
        return {name for part in parts if part is not None for name in part.names}

    def require(self, known: Iterable[str]) -> None:
        """Raise ConfigError for a field that the list does not have."""
        missing = sorted(self.names.difference(known))
        if missing:
            fix = f"add {', '.join(missing)} to the card's merge_fields, or take it out of the template"
            raise ConfigError(Problem(self._where, f"the list has no field {', '.join(missing)}", fix))

    def said(self, values: Mapping[str, Any]) -> Said:
        """The message with these values. Raises MissingValueError, or ConfigError where the template fails."""
        subject = " ".join(self._subject.render(values).split()) if self._subject else ""
        html = self._html.render(values) if self._html else None
        return Said(subject[:_LONGEST_SUBJECT], self._text.render(values), html)


class Snippet:
    """One template of a single text."""

    def __init__(self, where: str, source: str, *, html: bool = False) -> None:
        self._where = where
        environment = _HTML if html else _TEXT
        try:
            self.names = frozenset(meta.find_undeclared_variables(environment.parse(source)))
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            said = f"it is no template: {error.message} (line {error.lineno})"
            raise ConfigError(Problem(where, said, "see the documentation of Jinja")) from None

    def render(self, values: Mapping[str, Any]) -> str:
        """The text. Raises MissingValueError, or ConfigError for what the sandbox does not let through."""
        try:
            return self._template.render(values)
        except RowRejected:
            raise
        except (TemplateError, ArithmeticError, TypeError, ValueError, AttributeError, LookupError) as error:
            # Its words may hold a value of the row: only its kind is told.
            said = f"the template fails for a row ({type(error).__name__})"
            raise ConfigError(Problem(self._where, said, "try it with such values, and mend it")) from None


def _compiled(where: str, source: str, *, html: bool = False) -> Snippet:
    return Snippet(where, source, html=html)


def _read(folder: Path, message: str, suffix: str) -> str | None:
    """The template's text. A message is a name, never a path (L23)."""
    if not message or any(not (sign.isalnum() or sign in "_-") for sign in message):
        fix = "name it with letters, digits, _ and -"
        raise ConfigError(Problem(f"{FOLDER}/", "the card's message is no name of a template", fix))
    path = folder / f"{message}{suffix}"
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        problem = f"it cannot be read ({type(error).__name__})"
        raise ConfigError(Problem(f"{FOLDER}/{path.name}", problem, "write it in UTF-8")) from None


def _shown(value: Any) -> Any:
    if value is None:
        raise MissingValueError(Problem(FOLDER, "a field that the message shows has no value", _FIX))
    return value


def _environment(*, html: bool) -> ImmutableSandboxedEnvironment:
    made = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=html, finalize=_shown, keep_trailing_newline=True
    )
    made.globals.clear()  # no range(10**9), no lipsum
    return made


_TEXT, _HTML = _environment(html=False), _environment(html=True)
