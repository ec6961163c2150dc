"""Posteriors of the parameters of purchase and spend models, given the customers of the fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from crmml._typing import FloatArray, IntArray
from crmml.exceptions import CrmmlError, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.stats import gamma_gamma, joint, mle
from crmml.stats.posterior import Density, NormalPrior, Posterior, sample_posterior
from crmml.stats.process import PurchaseProcess

if TYPE_CHECKING:
    from crmml.models.purchase.base import PurchaseModel
    from crmml.models.purchase.distribution import Histories
    from crmml.models.value.gamma_gamma import GammaGammaModel

Prior = Mapping[str, tuple[float, float]]
"""Mean and standard deviation of the logarithm of a parameter, of a standardised coefficient."""

PRIOR_SD = 2.0
"""Of a log-parameter: 95 % of the prior lies within a factor of 50 of its centre. Likewise of what
a coefficient adds to it per standard deviation of the covariate."""

_THIN = 10_000


def build_prior(
    names: Sequence[str], centres: Mapping[str, float], given: Prior | None
) -> NormalPrior:
    """Build the prior of the log-parameters and coefficients.

    Parameters
    ----------
    names : sequence of str
        Parameters and coefficients.
    centres : mapping of str to float
        Natural centre of a parameter that has a unit; all other parameters are centred at 1 and
        coefficients at 0.
    given : mapping, optional
        Overrides ``(mean, sd)`` of the logarithm of a parameter, or of a coefficient.

    Raises
    ------
    ParameterError
        If ``given`` names no parameter or has ``sd <= 0``.
    """
    chosen = dict(given or {})
    unknown = sorted(set(chosen) - set(names))
    if unknown or any(not sd > 0 for _, sd in chosen.values()):
        raise ParameterError("prior", f"(mean, sd > 0) of the logarithm of {list(names)}", given)
    pairs = [chosen.get(name, (np.log(centres.get(name, 1.0)), PRIOR_SD)) for name in names]
    return NormalPrior(*np.array(pairs, dtype=np.float64).T)


def purchase_posterior(
    model: PurchaseModel,
    snapshot: Snapshot,
    *,
    n_draws: int = 200,
    seed: int = 0,
    prior: Prior | None = None,
    n_proposals: int = 512,
    method: Literal["auto", "laplace", "ensemble"] = "auto",
) -> Posterior:
    """Draw from the posterior of the parameters and coefficients of a fitted purchase model.

    Parameters
    ----------
    model : PurchaseModel
        Fitted; keeps no training data, so the snapshot is asked for.
    snapshot : Snapshot
        The customers of the fit.
    n_draws, seed, n_proposals, method
        See :func:`crmml.stats.posterior.sample_posterior`.
    prior : mapping, optional
        ``(mean, sd)`` of the logarithm of a parameter, or of a coefficient per standard deviation
        of its column. The default is weak: each logarithm is normal with standard deviation 2,
        centred at 0, or, for a parameter measured in time, at the logarithm of the mean
        observation time; each standardised coefficient is normal around 0 with standard deviation
        ``1 / sqrt(ridge)``, of which the ridge is the penalty, or 2 without one. Coordinates of
        estimated clocks (``clock_names_``) are normal with standard deviation 2 around 0, that of
        the decay of newcomers around the logarithm of a tenth of the mean observation time.

    Returns
    -------
    Posterior
        Parameters are those at covariates of 0 and coefficients those per unit of the column, as
        ``params_`` and ``coefficients_``. A column that does not vary keeps the coefficient 0.

    Raises
    ------
    CrmmlError
        If the model is made of parts, as a :class:`~crmml.models.LeftCensoredModel` is, and has
        estimated no clock that ties them together.

    Notes
    -----
    With covariates the density is that of the parameters of a customer with average covariates
    (the priors are theirs) and of the standardised coefficients, which hardly depend on each
    other; the draws are then put on the scale of the columns. Every distinct pair of history and
    covariates is a row.
    """
    model._check_snapshot(snapshot)
    if model.clock_names_:
        return _clocked_posterior(
            model, snapshot, prior,
            n_draws=n_draws, seed=seed, n_proposals=n_proposals, method=method,
        )  # fmt: skip
    process, h = model._process, model._histories(snapshot)
    counts = h.counts.astype(np.float64)
    blocks = model._blocks(h, slice(None), counts)
    coefficients = tuple(block.name for block in blocks)
    if coefficients != tuple(model.coefficients_):
        raise CrmmlError(f"{type(model).__name__} is made of parts; ask its method posterior()")
    names = (*process.NAMES, *coefficients)
    # Rates have a unit: the prior of alpha is centred on how long customers were seen, so that
    # days and weeks give the same posterior.
    typical = float(counts @ h.T / counts.sum())
    ridged = dict.fromkeys(coefficients, (0.0, model.ridge**-0.5)) if model.ridge else {}
    normal = build_prior(
        names, dict.fromkeys(model._time_parameters, typical), {**ridged, **(prior or {})}
    )

    density_on = _plain_density(process, h, blocks, normal)
    start = _at_mean_covariates(model, blocks)
    # A parameter on the boundary is no start: the prior keeps the mode in the interior.
    start = np.clip(start, normal.mean - 4.0 * normal.sd, normal.mean + 4.0 * normal.sd)
    found = sample_posterior(
        names,
        density_on(slice(None)),
        start,
        thinned=density_on(mle.thin_rows(len(counts), _THIN)) if len(counts) > 2 * _THIN else None,
        coefficients=coefficients,
        n_draws=n_draws,
        seed=seed,
        n_proposals=n_proposals,
        method=method,
    )
    return found.moved(mle.to_given_scale(process.NAMES, blocks)) if blocks else found


def _plain_density(
    process: PurchaseProcess, h: Histories, blocks: Sequence[mle.Block], normal: NormalPrior
) -> Callable[[slice | IntArray], Density]:
    """Log-posterior density on some of the histories, weighted up to all."""
    counts = h.counts.astype(np.float64)

    def density_on(index: slice | IntArray) -> Density:
        # A thinned sample speaks for all: otherwise the proposals would be too wide.
        weights = counts[index] * (counts.sum() / counts[index].sum())
        rows = mle.Rows(h.x[index], h.t_x[index], h.T[index], weights)
        acting = [block.thinned(index) for block in blocks]
        objective = mle.process_objective(process, rows, acting)

        def value(z: FloatArray) -> float:
            params = mle.row_params(process, acting, z)
            each = process.log_likelihood(params, rows.x, rows.t_x, rows.T)
            return float(weights @ each) + normal.log_density(z)[0]

        def gradient(z: FloatArray) -> tuple[float, FloatArray]:
            likelihood, by_parameter, _ = objective(z)
            prior_value, slope = normal.log_density(z)
            return likelihood + prior_value, by_parameter + slope

        return Density(value, gradient)

    return density_on


def _joint_density(
    parts: Sequence[joint.Part], clocks: joint.Clocks, normal: NormalPrior
) -> Callable[[Sequence[IntArray]], Density]:
    """Log-posterior density on some of the histories of each part, weighted up to all."""
    cuts = np.cumsum([0, *(len(part.names) for part in parts)])

    def density_on(indices: Sequence[IntArray]) -> Density:
        terms = [
            joint.part_objective(
                part.thinned(index, float(part.weights.sum() / part.weights[index].sum())),
                clocks, 0.0, 1.0,
            )
            for part, index in zip(parts, indices, strict=True)
        ]  # fmt: skip

        def gradient(z: FloatArray) -> tuple[float, FloatArray]:
            psi = z[cuts[-1] :]
            value, by_psi = clocks.log_rates(psi)
            own = []
            for term, low, high in zip(terms, cuts, cuts[1:], strict=False):
                more, by_theta, pulled = term(z[low:high], psi)
                value, by_psi = value + more, by_psi + pulled
                own.append(by_theta)
            prior_value, slope = normal.log_density(z)
            return value + prior_value, np.concatenate([*own, by_psi]) + slope

        return Density(lambda z: gradient(z)[0], gradient)

    return density_on


def _clocked_posterior(
    model: PurchaseModel, snapshot: Snapshot, prior: Prior | None, **settings: Any
) -> Posterior:
    """Draw from the joint posterior of processes and clocks, on the density of the joint fit.

    One vector holds the parameters and coefficients of each kind of customers, then the clocks.
    """
    problem, clocks = model._joint_problem(snapshot)
    parts, names = problem.parts, model._parameter_names
    cuts = np.cumsum([0, *(len(part.names) for part in parts)])
    n_rows = sum(len(part.x) for part in parts)
    centres: dict[str, float] = {}
    ridged: dict[str, tuple[float, float]] = {}
    coefficients: list[str] = []
    for part, low, high in zip(parts, cuts, cuts[1:], strict=False):
        parameters, rest = np.split(np.array(names[low:high]), [len(part.process.NAMES)])
        timed = zip(parameters, part.process.NAMES, strict=True)
        centres |= {name: part.scale() for name, own in timed if own in model._time_parameters}
        coefficients += rest.tolist()
    if model.ridge:
        ridged = dict.fromkeys(coefficients, (0.0, model.ridge**-0.5))
    if "log_decay" in names:
        ridged["log_decay"] = (float(np.log(parts[0].scale() / 10.0)), PRIOR_SD)
    normal = build_prior(names, centres, {**ridged, **(prior or {})})

    density_on = _joint_density(parts, clocks, normal)
    pairs = list(zip(problem.models, parts, strict=True))
    begins = [_at_mean_covariates(kind, part.blocks) for kind, part in pairs]
    # The posterior is sought from the estimate, near which its mode lies.
    start = np.concatenate([*begins, model.clock_estimates_])
    start = np.clip(start, normal.mean - 4.0 * normal.sd, normal.mean + 4.0 * normal.sd)
    whole = density_on([np.arange(len(part.x)) for part in parts])
    thinned = None
    if n_rows > 2 * _THIN:
        shares = [max(_THIN * len(part.x) // n_rows, 1) for part in parts]
        thinned = density_on(
            [mle.thin_rows(len(part.x), n) for part, n in zip(parts, shares, strict=True)]
        )
    found = sample_posterior(
        names,
        whole,
        start,
        thinned=thinned,
        coefficients=(*coefficients, *model.clock_names_),
        **settings,
    )
    # Draws were made at mean covariates, where the coordinates hardly depend on each other.
    change = np.eye(len(names))
    for part, low, high in zip(parts, cuts, cuts[1:], strict=False):
        change[low:high, low:high] = mle.to_given_scale(part.process.NAMES, part.blocks)
    return found.moved(change)


def _at_mean_covariates(model: PurchaseModel, blocks: Sequence[mle.Block]) -> FloatArray:
    """Log-parameters at mean covariates, then coefficients per standard deviation."""
    names = model._process.NAMES
    start = np.log([model.params_[name] for name in names])
    estimates = [model.coefficients_[block.name]["estimate"] for block in blocks]
    for block, estimate in zip(blocks, estimates, strict=True):
        start[names.index(block.parameter)] += block.sign * estimate * block.mean
    deviations = [block.deviation for block in blocks]
    return np.concatenate([start, np.multiply(estimates, deviations)])


def spend_posterior(
    model: GammaGammaModel,
    snapshot: Snapshot,
    *,
    n_draws: int = 200,
    seed: int = 0,
    prior: Prior | None = None,
    n_proposals: int = 512,
    method: Literal["auto", "laplace", "ensemble"] = "auto",
) -> Posterior:
    """Draw from the posterior of the parameters of a fitted spend model.

    Parameters
    ----------
    model : GammaGammaModel
        Fitted.
    snapshot : Snapshot
        The customers of the fit; those without a repeat purchase or with a ``monetary_value`` that
        is not positive say nothing.
    n_draws, seed, n_proposals, method
        See :func:`crmml.stats.posterior.sample_posterior`.
    prior : mapping, optional
        ``(mean, sd)`` of the logarithm of a parameter. The default is weak: standard deviation 2,
        centred at 0, and for ``gamma`` at the logarithm of the mean spend.

    Returns
    -------
    Posterior
    """
    found = snapshot.distinct(("frequency", "monetary_value"))
    x, m = (found.rows[c].to_numpy(np.float64) for c in ("frequency", "monetary_value"))
    keep = (x > 0) & (m > 0)
    x, m, counts = x[keep], m[keep], found.counts[keep].astype(np.float64)
    names = gamma_gamma.NAMES
    if np.ptp(m) <= 1e-9 * m.mean():
        # every purchase cost the same: the spend is known, and nothing is left to draw
        point = np.log([model.params_[name] for name in names])
        draws = np.tile(np.exp(point), (n_draws, 1))
        return Posterior(names, draws, point, np.zeros((3, 3)), "laplace", 0.0, float(n_draws))
    normal = build_prior(names, {"gamma": float(counts @ m / counts.sum())}, prior)

    def density_on(rows: slice | IntArray) -> Density:
        x_, m_ = x[rows], m[rows]
        weights = counts[rows] * (counts.sum() / counts[rows].sum())

        def value(z: FloatArray) -> float:
            each = gamma_gamma.log_likelihood(gamma_gamma.Params(*np.exp(z)), x_, m_)
            return float(weights @ each) + normal.log_density(z)[0]

        def gradient(z: FloatArray) -> tuple[float, FloatArray]:
            each, by_parameter = gamma_gamma.score(gamma_gamma.Params(*np.exp(z)), x_, m_)
            prior_value, slope = normal.log_density(z)
            return float(weights @ each) + prior_value, by_parameter @ weights + slope

        return Density(value, gradient)

    return sample_posterior(
        names,
        density_on(slice(None)),
        np.log([model.params_[name] for name in names]),
        thinned=density_on(mle.thin_rows(len(counts), _THIN)) if len(counts) > 2 * _THIN else None,
        n_draws=n_draws,
        seed=seed,
        n_proposals=n_proposals,
        method=method,
    )
