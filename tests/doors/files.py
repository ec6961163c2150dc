"""The table of files: what people have, and what must be understood, asked or refused."""

from __future__ import annotations

from doors.cases import CASES
from doors.forms import FORMS
from doors.kinds import KINDS
from doors.truth import Door

DOORS: list[Door] = [*CASES, *FORMS, *KINDS]
