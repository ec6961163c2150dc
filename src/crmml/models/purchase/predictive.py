"""Predictive distributions of purchases that carry the uncertainty of the parameters.

A posterior stands in for the parameters by a few equally probable vectors (its *nodes*). Given
the parameters a prediction is P(active) times the future of an active customer; averaged over
the nodes it is the predictive distribution. Everything is evaluated once per distinct history,
and the future once per distinct future, so that a million customers cost no more than the few
ten thousand kinds among them, and no customer depends on who else is there. Covariates are part
of a history, and their coefficients of the parameters.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from crmml._typing import Duration, FloatArray, IntArray
from crmml.exceptions import CrmmlError, ParameterError
from crmml.features.snapshot import Snapshot
from crmml.models.estimator import check_levels
from crmml.models.purchase.base import Histories, PurchaseModel, take
from crmml.models.purchase.clocked import ClockedPurchaseModel
from crmml.models.value.gamma_gamma import GammaGammaModel
from crmml.stats import gamma_gamma, joint, mle
from crmml.stats.posterior import Density, NormalPrior, Posterior, sample_posterior

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
    clocks_known: bool = False,
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
    clocks_known : bool
        Take the clocks as known at their estimates.

    Returns
    -------
    Posterior
        Parameters are those at covariates of 0 and coefficients those per unit of the column, as
        ``params_`` and ``coefficients_``. A column that does not vary keeps the coefficient 0.

    Raises
    ------
    CrmmlError
        If the model is made of parts, as a :class:`~crmml.models.LeftCensoredModel` is.

    Notes
    -----
    With covariates the density is that of the parameters of a customer with average covariates
    (the priors are theirs) and of the standardised coefficients, which hardly depend on each
    other; the draws are then put on the scale of the columns. Every distinct pair of history and
    covariates is a row.
    """
    model._check_snapshot(snapshot)
    process, h = model._process, model._histories(snapshot)
    counts = h.counts.astype(np.float64)
    blocks = model._blocks(h, slice(None), counts)
    coefficients = tuple(block.name for block in blocks)
    if coefficients != tuple(model.coefficients_):
        raise CrmmlError(f"{type(model).__name__} is made of parts; ask its method posterior()")
    clocked = () if clocks_known else tuple(getattr(model, "clock_names_", ()))
    if clocked:
        return _clocked_posterior(
            model, snapshot, blocks, prior,
            n_draws=n_draws, seed=seed, n_proposals=n_proposals, method=method,
        )  # fmt: skip
    names = (*process.NAMES, *coefficients)
    typical = float(counts @ h.T / counts.sum())
    ridged = dict.fromkeys(coefficients, (0.0, model.ridge**-0.5)) if model.ridge else {}
    normal = build_prior(
        names, dict.fromkeys(model._time_parameters, typical), {**ridged, **(prior or {})}
    )

    def density_on(index: slice | IntArray) -> Density:
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


def _clocked_posterior(
    model: Any,
    snapshot: Snapshot,
    blocks: Sequence[mle.Block],
    prior: Prior | None,
    **settings: Any,
) -> Posterior:
    """Draw from the joint posterior of process and clocks, on the density of the joint fit."""
    part, clocks = model._joint_part(snapshot)
    size, n_rows = len(part.names), len(part.x)
    names = (*part.names, *model.clock_names_)
    coefficients = names[len(part.process.NAMES) :]
    ridged = {}
    if model.ridge:
        ridged = dict.fromkeys(coefficients[: len(blocks)], (0.0, model.ridge**-0.5))
    typical = part.scale()
    clock_prior = {"log_decay": (np.log(typical / 10.0), PRIOR_SD)}
    centred = {k: v for k, v in clock_prior.items() if k in names}
    normal = build_prior(
        names,
        dict.fromkeys(model._time_parameters, typical),
        {**ridged, **centred, **(prior or {})},
    )

    def density_on(index: IntArray) -> Density:
        share = float(part.weights.sum() / part.weights[index].sum())
        evaluate = joint.part_objective(part.thinned(index, share), clocks, 0.0, 1.0)

        def gradient(z: FloatArray) -> tuple[float, FloatArray]:
            value, by_theta, by_psi = evaluate(z[:size], z[size:])
            rates, slope = clocks.log_rates(z[size:])
            prior_value, prior_slope = normal.log_density(z)
            whole = np.concatenate([by_theta, by_psi + slope])
            return value + rates + prior_value, whole + prior_slope

        return Density(lambda z: gradient(z)[0], gradient)

    start = np.concatenate([_at_mean_covariates(model, blocks), model.clock_estimates_])
    start = np.clip(start, normal.mean - 4.0 * normal.sd, normal.mean + 4.0 * normal.sd)
    found = sample_posterior(
        names,
        density_on(np.arange(n_rows)),
        start,
        thinned=density_on(mle.thin_rows(n_rows, _THIN)) if n_rows > 2 * _THIN else None,
        coefficients=coefficients,
        **settings,
    )
    change = np.eye(len(names))
    change[:size, :size] = mle.to_given_scale(part.process.NAMES, blocks)
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


def at_parameters(model: PurchaseModel, values: FloatArray) -> PurchaseModel:
    """Return the fitted model with other parameters, in the order of its posterior's names."""
    other = copy.copy(model)
    found = dict(zip(model._parameter_names, values.tolist(), strict=True))
    other.params_ = {name: found[name] for name in model.params_}
    other.coefficients_ = {name: {"estimate": found[name]} for name in model.coefficients_}
    clocks = [name for name in getattr(model, "clock_names_", ()) if name in found]
    if clocks and isinstance(other, ClockedPurchaseModel):
        other._set_clocks(np.array([found[name] for name in clocks]))
    return other


@dataclass(frozen=True)
class Outlook:
    """What each node says of the future of each distinct history.

    Attributes
    ----------
    histories : Histories
    alive : ndarray, shape (n_nodes, n_histories)
        P(active at the cutoff).
    futures : list of NamedTuple
        For each node, the parameters of the distinct futures.
    t : list of ndarray, shape (n_futures,)
        For each node, the length of the horizon on its clock.
    inverse : ndarray of int, shape (n_histories,)
        The future of each history.
    """

    model: PurchaseModel
    histories: Histories
    alive: FloatArray
    futures: list[Any]
    t: list[FloatArray]
    inverse: IntArray

    @property
    def n_futures(self) -> int:
        """Number of distinct futures."""
        return len(self.t[0])

    def pmf(self, futures: IntArray, n_max: int) -> FloatArray:
        """P(n | active) for n = 0..n_max of some futures, shape (n_nodes, n, n_max + 1)."""
        return np.array(
            [
                self.model._process.pmf(take(params, futures), t[futures], n_max)
                for params, t in zip(self.futures, self.t, strict=True)
            ]
        )


def node_params(model: PurchaseModel, h: Histories, posterior: Posterior) -> Iterator[Any]:
    """Few equally weighted parameters of each history that stand for the posterior.

    Without covariates they are those of :meth:`~crmml.stats.posterior.Posterior.nodes`. With
    covariates the log-parameters of a history are a linear image of log-parameters and
    coefficients, so that the same cubature on that image needs two points for each parameter of
    the process, however many coefficients there are.

    Yields
    ------
    NamedTuple
        Parameters of the process, fields of shape (n_histories,) or numbers.
    """
    acting = tuple(model._acting())
    alike = posterior.coefficients == tuple(name for name, *_ in acting)
    if not posterior.coefficients or not alike or posterior.method == "ensemble":
        for values in posterior.nodes():
            yield at_parameters(model, values)._row_params(h)
        return
    names = model._process.NAMES
    mean, covariance = (np.zeros((len(h.x), *(len(names),) * axes)) for axes in (1, 2))
    # Of each log-parameter: the coordinates of the posterior that enter it, and their weights.
    entering = []
    for j, name in enumerate(names):
        terms = [
            (i, sign * h.covariates[column])
            for i, (_, parameter, sign, column) in enumerate(acting, start=len(names))
            if parameter == name
        ]
        index = [j, *(i for i, _ in terms)]
        entering.append((index, np.column_stack([np.ones(len(h.x)), *(z for _, z in terms)])))
    for j, (index, weights) in enumerate(entering):
        mean[:, j] = weights @ posterior.log_mean[index]
        for k, (other, its_weights) in enumerate(entering[: j + 1]):
            shared = weights @ posterior.log_covariance[np.ix_(index, other)]
            covariance[:, j, k] = covariance[:, k, j] = (shared * its_weights).sum(axis=1)
    values, vectors = np.linalg.eigh(covariance)
    spread = np.sqrt(len(names) * np.maximum(values, 0.0))
    root = (vectors * spread[:, None, :]) @ vectors.transpose(0, 2, 1)
    for sign in (1.0, -1.0):
        for k in range(len(names)):
            yield model._process.make(np.exp(mean + sign * root[:, :, k]).T)


def look_ahead(
    model: PurchaseModel,
    snapshot: Snapshot,
    horizon: str | Duration,
    worlds: Posterior | FloatArray | None,
) -> Outlook:
    """Gather the distinct histories and futures at every node.

    Parameters
    ----------
    model : PurchaseModel
        Fitted.
    snapshot : Snapshot
    horizon : str or Duration
    worlds : Posterior or ndarray of shape (n_nodes, n_parameters), optional
        A posterior by its few nodes, or equally probable parameters shared by all customers;
        ``None`` takes the estimates as certain.
    """
    h, alive, future = model._look_ahead(snapshot, horizon)
    if worlds is None:
        return Outlook(model, h, alive[None], [future.params], [future.t], future.inverse)
    first = np.empty(len(future.t), dtype=np.int64)
    first[future.inverse] = np.arange(len(future.inverse))
    names = model._parameter_names
    clocked = len(getattr(model, "clock_names_", ())) > 0
    clocked = clocked and (not isinstance(worlds, Posterior) or worlds.names == names)
    nodes: Iterator[tuple[Any, Histories, FloatArray]]
    if clocked and len(names) > len(model.params_) + len(model.coefficients_):
        # Other clocks put the same histories at other operational times.
        vectors = worlds.nodes() if isinstance(worlds, Posterior) else worlds
        nodes = (_on_its_clock(model, values, snapshot, horizon) for values in vectors)
    elif isinstance(worlds, Posterior):
        nodes = ((params, h, future.t) for params in node_params(model, h, worlds))
    else:
        nodes = ((at_parameters(model, v)._row_params(h), h, future.t) for v in worlds)
    alive_at, futures, lengths = [], [], []
    for params, its, t in nodes:
        alive_at.append(model._process.probability_alive(params, its.x, its.t_x, its.T))
        futures.append(
            model._process.if_alive(take(params, first), its.x[first], its.t_x[first], its.T[first])
        )
        lengths.append(t if t is future.t else t[first])
    return Outlook(model, h, np.array(alive_at), futures, lengths, future.inverse)


def _on_its_clock(
    model: PurchaseModel, values: FloatArray, snapshot: Snapshot, horizon: str | Duration
) -> tuple[Any, Histories, FloatArray]:
    """Parameters, histories and lengths of the horizon at other parameters and clocks."""
    other = at_parameters(model, values)
    h = other._histories(snapshot)
    return other._row_params(h), h, other._lengths(snapshot, h, horizon)


def chunks(inverse: IntArray, groups: IntArray, rows: IntArray, size: int) -> Iterator[Any]:
    """Walk over some groups in pieces, each with its rows.

    Parameters
    ----------
    inverse : ndarray of int, shape (n,)
        Group of every row.
    groups : ndarray of int
        Groups to walk over, rising.
    rows : ndarray of int
        Rows to hand out; all belong to ``groups``.
    size : int
        Groups per piece.

    Yields
    ------
    piece : ndarray of int
        Groups of the piece.
    mine : ndarray of int
        Its rows.
    position : ndarray of int
        Where in ``piece`` the group of each row stands.
    """
    place = np.searchsorted(groups, inverse[rows])
    order = np.argsort(place, kind="stable")
    place = place[order]
    for begin in range(0, len(groups), size):
        piece = groups[begin : begin + size]
        low, high = np.searchsorted(place, [begin, begin + len(piece)])
        yield piece, rows[order[low:high]], place[low:high] - begin


def purchase_distribution(
    model: PurchaseModel,
    snapshot: Snapshot,
    horizon: str | Duration,
    n_max: int,
    posterior: Posterior,
) -> pd.DataFrame:
    """P(n purchases in the horizon | data), parameters being uncertain.

    Parameters
    ----------
    model, snapshot, horizon, n_max
        As :meth:`PurchaseModel.purchase_distribution`.
    posterior : Posterior
        Of the model; see :func:`purchase_posterior`.

    Returns
    -------
    DataFrame, shape (n_customers, n_max + 1)
        What is missing to 1 lies above ``n_max``.
    """
    ahead = look_ahead(model, snapshot, horizon, posterior)
    table = np.empty((ahead.alive.shape[1], n_max + 1))
    rows = np.arange(len(table))
    size = max(1, 1_000_000 // ((n_max + 1) * len(ahead.futures)))
    for piece, mine, position in chunks(ahead.inverse, np.arange(ahead.n_futures), rows, size):
        pmf = ahead.pmf(piece, n_max)
        alive = ahead.alive[:, mine]
        table[mine] = averaged(alive, pmf, position)
        table[mine, 0] += 1.0 - alive.mean(axis=0)
    columns = pd.RangeIndex(n_max + 1, name="n")
    return pd.DataFrame(table[ahead.histories.inverse], index=snapshot.customer_id, columns=columns)


def averaged(alive: FloatArray, per_future: FloatArray, position: IntArray) -> FloatArray:
    """Average ``alive[node, row] * per_future[node, future of row, k]`` over nodes: (rows, k)."""
    total = np.zeros((alive.shape[1], per_future.shape[2]))
    for p, values in zip(alive, per_future, strict=True):
        total += p[:, None] * values[position]
    return total / len(alive)


def purchase_quantiles(
    model: PurchaseModel,
    snapshot: Snapshot,
    horizon: str | Duration,
    q: float | Sequence[float],
    posterior: Posterior | None = None,
) -> pd.DataFrame:
    """Smallest n with P(purchases <= n | data) >= q, parameters being uncertain.

    Parameters
    ----------
    model, snapshot, horizon, q
        As :meth:`PurchaseModel.purchase_quantiles`.
    posterior : Posterior, optional
        Of the model; without it the estimates are taken as certain.

    Returns
    -------
    DataFrame of int, shape (n_customers, n_levels)
    """
    levels = check_levels(q)
    ahead = look_ahead(model, snapshot, horizon, posterior)
    counts = np.zeros((ahead.alive.shape[1], len(levels)), dtype=np.int64)
    open_rows = np.flatnonzero(ahead.alive.mean(axis=0) > 1.0 - levels.max())
    n_max = 3
    while len(open_rows):
        still: list[IntArray] = []
        groups = np.unique(ahead.inverse[open_rows])
        size = max(1, 500_000 // ((n_max + 1) * len(ahead.futures)))
        for piece, mine, position in chunks(ahead.inverse, groups, open_rows, size):
            beyond = 1.0 - np.cumsum(ahead.pmf(piece, n_max), axis=2)
            tail = averaged(ahead.alive[:, mine], beyond, position)
            found = np.stack([(tail > 1.0 - level).sum(axis=1) for level in levels], axis=1)
            counts[mine] = found
            # Rounding of the sum may keep a tail from ever falling below a tiny 1 - q.
            still.append(mine[(found > n_max).any(axis=1) & (tail[:, -1] > 1e-12)])
        open_rows = np.sort(np.concatenate(still))
        n_max = 2 * n_max + 1
    columns = pd.Index(levels, name="q")
    return pd.DataFrame(
        counts[ahead.histories.inverse], index=snapshot.customer_id, columns=columns
    )
