"""The report: one page of HTML that needs no network, in English or Persian."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from crmml import __version__
from crmml.atomic import replacing
from crmml.data.tables import Tables, open_tables
from crmml.exceptions import DataError
from crmml.reports.business import business_sections
from crmml.reports.contents import Section
from crmml.reports.customers import experience, market
from crmml.reports.first_screen import first_screen
from crmml.reports.language import Lang, Language
from crmml.reports.reading import Reported, read_reported, read_trained
from crmml.reports.sections import (
    actions,
    churn,
    data_quality,
    glossary,
    groups,
    loyalty,
    models,
    portfolio,
    tiers,
)
from crmml.reports.strategy import measure_links, strategy
from crmml.scorecard.assessment import Assessment, read_assessment

if TYPE_CHECKING:
    from crmml.scorecard.monitor import Monitoring

MOST_WITH_DATA = 200_000
"""Customers up to which the report that is logged with a training reads the data again."""


@dataclass(frozen=True)
class Page:
    """A report that shows itself in Jupyter.

    Attributes
    ----------
    html : str
        The whole page.
    sections : tuple of Section
        What it is made of.
    cutoff : Timestamp
        Of the scores.
    """

    html: str
    sections: tuple[Section, ...]
    cutoff: pd.Timestamp

    def __repr__(self) -> str:
        size = len(self.html.encode()) / 1000
        return f"Page of {len(self.sections)} sections at {self.cutoff.date()}, {size:,.0f} kB"

    def _repr_html_(self) -> str:
        from html import escape

        return (
            f'<iframe srcdoc="{escape(self.html)}" sandbox="allow-scripts" loading="lazy" '
            'style="width:100%;height:40em;border:1px solid #8884"></iframe>'
        )

    def save(self, folder: str | Path, lang: Lang = "en") -> Path:
        """Write the page into a folder as ``report-<lang>.html``; return its path."""
        file = Path(folder) / f"report-{lang}.html"
        with replacing(file) as target:
            target.write_text(self.html, encoding="utf-8")
        return file


def report(
    scores: str | Path,
    *,
    cutoff: str | pd.Timestamp | None = None,
    lang: Lang = "en",
    data: Any = None,
    own_seller: str | None = None,
    monitoring: Monitoring | None = None,
    targets: Mapping[str, float] | None = None,
    assessment: str | Path | Assessment | None = None,
) -> Page:
    """Make the report of a folder of scores.

    Parameters
    ----------
    scores : str or Path
        What ``crmml score`` wrote; what changed is told where it holds an earlier cutoff.
    cutoff : str or Timestamp, optional
        Which scores; default: the newest.
    lang : {"en", "fa"}
        English, or Persian from right to left with Persian digits and Jalali dates.
    data : Tables, log, path or mapping of table name to such, optional
        The data that were scored: scorecard and control charts rest on them, and say so where
        they are not given.
    own_seller : str, optional
        The own house, where the log holds rivals' sales too.
    monitoring : Monitoring, optional
        What :func:`crmml.monitor` found; default: what ``crmml monitor --out`` wrote into
        ``_monitor`` in the folder of the scores, if it did.
    targets : mapping of str to float, optional
        Target by figure of the scorecard, such as ``{"retention": 0.6}``; see
        :data:`crmml.scorecard.KPIS`.
    assessment : path or Assessment, optional
        A sheet that was filled in, from :func:`crmml.scorecard.write_assessment_template`.

    Returns
    -------
    Page
        Shows itself in Jupyter; ``save(folder)`` writes it.

    Raises
    ------
    StorageError
        If there are no scores.
    ParameterError
        If the language, or the figure of a target, is not known.
    AssessmentError
        If the sheet breaks a rule.
    """
    Language(lang)  # refused before anything is read
    of = read_reported(scores, cutoff)
    if monitoring is not None:
        of = replace(of, monitored=monitoring.to_dict())
    of = replace(of, targets=dict(targets or {}), assessment=_sheet(assessment))
    tables = _opened(data)
    if tables is not None:
        _check_same_base(of, tables)
    return _make(of, lang, tables, own_seller)


def _check_same_base(of: Reported, tables: Tables) -> None:
    """Refuse data of other customers: their figures would stand beside these scores."""
    name = next((name for name in ("transactions", "subscriptions") if name in tables), None)
    if name is not None:
        ids = tables[name].select("customer_id").distinct().to_pandas()["customer_id"]
        if not of.scores["customer_id"].isin(ids).any():
            rule = "the data must be of the customers who were scored; none of them is in it"
            raise DataError(rule, table=name)


def report_training(result: Any, lang: Lang = "en") -> Page | None:
    """Make the report of the scores that a training made on its own data.

    Parameters
    ----------
    result : TrainingResult or ContractTraining
        What came out. Of more than :data:`MOST_WITH_DATA` customers the sections that need the
        data are left out, as they would take a minute: ``crmml report --config`` has them.
    lang : {"en", "fa"}

    Returns
    -------
    Page or None
        None of a labelled table, which has no cutoff.
    """
    if result.bundle.manifest.kind == "labelled":
        return None
    few = len(result.scores.table) <= MOST_WITH_DATA
    of, tables = read_trained(result, with_data=few), result.tables if few else None
    shown = result.config.report
    of = replace(of, targets=shown.targets, assessment=_sheet(shown.assessment))
    return _make(of, lang, tables, of.summary["own_seller"])


def _make(of: Reported, lang: Lang, tables: Tables | None, own_seller: str | None) -> Page:
    language = Language(lang, of.summary.get("currency"), contracts=of.has("contract_age"))
    links = measure_links(of, tables, own_seller)
    sections = (
        first_screen(of, language),
        *(make(of, language) for make in (tiers, portfolio, churn, loyalty, groups)),
        *(make(of, language, tables, own_seller) for make in (experience, market)),
        actions(of, language),
        *business_sections(of, language, tables, own_seller, links),
        strategy(of, language, tables, links),
        *(make(of, language) for make in (models, data_quality, glossary)),
    )
    return Page(_render(of, language, sections), sections, of.cutoff)


def _sheet(given: str | Path | Assessment | None) -> Assessment | None:
    return read_assessment(given) if isinstance(given, (str, Path)) else given


def _opened(data: Any) -> Tables | None:
    if data is None or isinstance(data, Tables):
        return data
    return open_tables(data)


def write_report(scores: str | Path, out: str | Path, **how: Any) -> Path:
    """Write the report of a folder of scores; see :func:`report`."""
    return report(scores, **how).save(out, how.get("lang", "en"))


def _render(of: Reported, language: Language, sections: Sequence[Section]) -> str:
    template = _templates().get_template("report.html.jinja")
    return template.render(
        sections=sections,
        w=language,
        title=language.text("title", date=language.date(of.cutoff)),
        made=language.text(
            "made",
            version=language.figures(__version__),
            model=str(of.summary.get("model_version", "")),
        ),
    )


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("crmml.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
