"""The assessment sheet: a YAML template of activities, people and technology, filled in by hand.

Its areas follow the QCI model of customer management (Woodcock, Starkey and Stone 2000, *The
Customer Management Scorecard*). No score is computed or suggested here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from crmml.atomic import replacing
from crmml.card import Card, Result
from crmml.exceptions import CrmmlError
from crmml.safe_yaml import YamlError, line_of, read_yaml


class AssessmentError(CrmmlError, ValueError):
    """An assessment sheet breaks a rule."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class _Question(_Strict):
    ask: str = Field(min_length=1)
    score: float | None = Field(default=None, ge=0)
    evidence: str | None = None


class _Area(_Strict):
    name: str = Field(min_length=1)
    kind: Literal["activities", "people", "technology"]
    questions: tuple[_Question, ...] = Field(min_length=1)


class _Sheet(_Strict):
    version: Literal["1"]
    highest: float = Field(default=10.0, gt=0)
    assessed_on: date | None = None
    assessed_by: str | None = None
    areas: tuple[_Area, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _within(self) -> _Sheet:
        names = [area.name for area in self.areas]
        if len(set(names)) < len(names):
            raise ValueError("each area may stand once")
        for area in self.areas:
            for question in area.questions:
                if question.score is not None and question.score > self.highest:
                    raise ValueError(
                        f"a score is at most {self.highest:g}; got {question.score:g} in the area "
                        f"{area.name!r}"
                    )
        return self


@dataclass(frozen=True, repr=False)
class Assessment(Result):
    """A sheet that was filled in, as far as it was.

    Attributes
    ----------
    table : DataFrame
        On ``area`` and ``question``: ``kind`` (activities, people, technology), ``score`` (missing
        where nobody judged) and ``evidence``.
    highest : float
        The best score there is.
    assessed_on : date or None
    assessed_by : str or None
    """

    table: pd.DataFrame
    highest: float
    assessed_on: date | None
    assessed_by: str | None

    def to_pandas(self) -> pd.DataFrame:
        """Return the table."""
        return self.table.copy()

    def _card(self) -> Card:
        scores = self.table["score"]
        rows = []
        for area, of in scores.groupby(level="area", sort=False):
            told = f"mean {of.mean():.1f} of {self.highest:g}" if of.notna().any() else "not judged"
            rows.append((str(area), f"{told}, {int(of.notna().sum())} of {len(of)} questions"))
        line = f"Assessment: {int(scores.notna().sum())} of {len(scores)} questions judged"
        return Card(line, tuple(rows))


def write_assessment_template(path: str | Path) -> Path:
    """Write the sheet to fill in.

    Parameters
    ----------
    path : str or Path
        A file that does not exist yet.

    Raises
    ------
    AssessmentError
        If the file exists: what was filled in would be lost.
    """
    target = Path(path)
    if target.exists():
        raise AssessmentError(f"the template is written to a new file; {target} exists")
    with replacing(target) as partial:
        partial.write_text(_template(), encoding="utf-8")
    return target


def read_assessment(path: str | Path) -> Assessment:
    """Read a sheet.

    Parameters
    ----------
    path : str or Path
        From :func:`write_assessment_template`, filled in as far as somebody judged.

    Raises
    ------
    AssessmentError
        If it cannot be read, or breaks a rule; the sentence names the line.
    """
    file = Path(path)
    try:
        text = file.read_bytes()
    except OSError as error:
        why = (error.strerror or type(error).__name__).lower()
        raise AssessmentError(f"{file.name} cannot be read: {why}") from None
    try:
        sheet = _Sheet.model_validate(read_yaml(text))
    except YamlError as error:
        raise AssessmentError(f"{file.name}, {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        told = first["msg"].removeprefix("Value error, ")
        line = line_of(text, first["loc"])
        where = f"line {line}, {place}" if place else f"line {line}"
        raise AssessmentError(f"{file.name}, {where}: {told[0].lower() + told[1:]}") from None
    rows = [
        (area.name, one.ask, area.kind, one.score, one.evidence)
        for area in sheet.areas
        for one in area.questions
    ]
    table = pd.DataFrame(rows, columns=["area", "question", "kind", "score", "evidence"])
    table = table.astype({"score": "float64"}).set_index(["area", "question"])
    return Assessment(table, sheet.highest, sheet.assessed_on, sheet.assessed_by)


def _template() -> str:
    place = resources.files("crmml.scorecard").joinpath("assessment_template.yaml")
    return place.read_text(encoding="utf-8")
