"""Maximum likelihood on counted rows: log-parameters, exact gradients, covariates, information.

A fit runs in three steps. A thinned sample of the rows finds the neighbourhood of the optimum
(L-BFGS-B inside a box); the full rows are then climbed by Newton's method with the curvature of
the sample, which needs two or three gradients; and the curvature of the full rows, differentiated
from the exact gradient, polishes the optimum and gives the covariance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Protocol, Self, TypeAlias, runtime_checkable

import numpy as np
from scipy.optimize import minimize

from crmml._typing import BoolArray, FloatArray, IntArray
from crmml.stats.process import PurchaseProcess
from crmml.stats.threads import on_one_thread

Evaluation: TypeAlias = tuple[float, FloatArray, Callable[[], FloatArray]]
"""Value, gradient, and a function that returns the information (minus the Hessian)."""
Objective: TypeAlias = Callable[[FloatArray], Evaluation]
Side = Literal["low", "high", "flat"]
Bounds: TypeAlias = tuple[FloatArray, FloatArray]
"""Lower and upper bounds of the coordinates."""

BOX = 12.0
"""Log-parameters are sought in (-12, 12) around the scale of the data; beyond is the boundary."""
TOLERANCE = 1e-7
"""Largest gradient per customer of a converged fit."""
BOUNDARY_TOLERANCE = 1e-3
"""The same where the optimum lies on the boundary."""
_SAMPLES = (2000, 40_000)
"""Rows, about, of the samples that start a fit of many more."""
_SAMPLE_TOLERANCE = 1e-3
_BLIND = 1e-3
"""Longest step, in log-parameters, that is taken without looking where rows are many."""
_PATIENCE = 10
"""Steps after which the curvature of the full rows takes the place of the sample's."""


@runtime_checkable
class CountedProcess(PurchaseProcess, Protocol):
    """A process that sums its likelihood over weighted histories faster than row by row."""

    def counted(
        self, x: FloatArray, t_x: FloatArray, T: FloatArray, weights: FloatArray
    ) -> Objective:
        """Log-likelihood as a function of the log-parameters."""


class Rows(NamedTuple):
    """Distinct histories with their weights (usually counts), each of shape (n,)."""

    x: FloatArray
    t_x: FloatArray
    T: FloatArray
    weights: FloatArray


@dataclass(frozen=True)
class Block:
    """One covariate acting on one log-parameter: ``log p_i = log p + sign * c * z_i``.

    Attributes
    ----------
    name : str
        Name of the coefficient.
    parameter : str
        The parameter acted on.
    sign : float
        +1 or -1.
    z : ndarray, shape (n,)
        Standardised values.
    mean, deviation : float
        Of the values as given, weighted.
    """

    name: str
    parameter: str
    sign: float
    z: FloatArray
    mean: float
    deviation: float

    @classmethod
    def standardised(
        cls, name: str, parameter: str, sign: float, values: FloatArray, weights: FloatArray
    ) -> Self:
        """Centre and scale the values by their weighted mean and standard deviation.

        A column that does not vary keeps deviation 0; its coefficient is not identified and is 0.
        """
        mean = float(weights @ values / weights.sum())
        deviation = float(np.sqrt(weights @ (values - mean) ** 2 / weights.sum()))
        z = (values - mean) / deviation if deviation > 0 else np.zeros_like(values)
        return cls(name, parameter, sign, z, mean, deviation)

    def thinned(self, index: slice | IntArray) -> Block:
        """Keep some rows."""
        return replace(self, z=self.z[index])


@dataclass(frozen=True)
class Fit:
    """Where a maximisation ended.

    Attributes
    ----------
    theta : ndarray, shape (p,)
        Log-parameters, then coefficients.
    log_likelihood : float
        Without the penalty.
    covariance : ndarray, shape (p, p)
        Inverse of the observed information; NaN where the optimum is on the boundary.
    gradient_norm : float
        Largest derivative per unit of weight, boundary directions apart.
    converged : bool
    boundary : tuple of (name, side)
        Estimates that went to 0 (``"low"``) or to infinity (``"high"``), or on which the data
        say nothing (``"flat"``).
    blocks : tuple of str
        Names of the coefficients.
    """

    theta: FloatArray
    log_likelihood: float
    covariance: FloatArray
    gradient_norm: float
    converged: bool
    boundary: tuple[tuple[str, Side], ...] = ()
    blocks: tuple[str, ...] = ()

    def moved(self, shift: FloatArray, constant: float) -> Fit:
        """Undo the scale of time: shift log-parameters, add a constant to the log-likelihood."""
        theta = self.theta.copy()
        theta[: len(shift)] += shift
        return replace(self, theta=theta, log_likelihood=self.log_likelihood + constant)


def maximise(
    objective: Objective,
    start: FloatArray,
    weight: float,
    *,
    samples: Sequence[Objective] = (),
    cheap_information: bool = False,
    bounds: Bounds | None = None,
    near: bool = False,
) -> tuple[FloatArray, float, FloatArray, FloatArray, BoolArray]:
    """Maximise a smooth function inside the box.

    Parameters
    ----------
    objective : callable
        Returns value, gradient and (lazily) the information.
    start : ndarray, shape (p,) or (n_starts, p)
        Of several starts the one that climbs highest, on the coarsest approximation, goes on.
    weight : float
        Total weight behind ``objective``; the tolerance is per unit of weight.
    samples : sequence of callables
        Cheaper approximations of ``objective``, from coarse to fine, each of which starts the next.
    cheap_information : bool
        Whether the information costs no more than a gradient.
    bounds : pair of ndarray, shape (p,), optional
        The box; by default ``(-BOX, BOX)`` for each coordinate.
    near : bool
        Whether the one start lies so near the top that Newton's method climbs from there.

    Returns
    -------
    theta, value, gradient, information, at_edge
        ``information`` is minus the Hessian; ``at_edge`` marks coordinates held by the box.
    """
    # Nearly all steps are taken on the coarse sample, where they are cheap.
    coarse, *finer = [*samples, objective]

    def descend(theta: FloatArray) -> tuple[float, FloatArray]:
        value, gradient, _ = coarse(theta)
        return -value / weight, -gradient / weight

    starts = np.atleast_2d(start)
    box = _box(starts.shape[1]) if bounds is None else bounds
    found = [
        minimize(
            descend,
            np.clip(one, *box),
            jac=True,
            method="L-BFGS-B",
            bounds=list(zip(*box, strict=True)),
            options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-5, "maxcor": 20},
        )
        for one in starts
    ]
    # Of a tie the first start wins, so that the answer does not hang on rounding.
    theta = np.asarray(min(found, key=lambda one: float(one.fun)).x, dtype=np.float64)
    # The curvature of a sample is good enough for a step, and saves many gradients.
    theta = np.clip(starts[0], *box)
    if not near:
        found = [
            minimize(
                descend,
                np.clip(one, *box),
                jac=True,
                method="L-BFGS-B",
                bounds=list(zip(*box, strict=True)),
                options={"maxiter": 500, "ftol": 1e-13, "gtol": 1e-5, "maxcor": 20},
            )
            for one in starts
        ]
        theta = np.asarray(min(found, key=lambda one: float(one.fun)).x, dtype=np.float64)
    information = None if cheap_information else coarse(theta)[2]()
    for sample in finer[:-1]:
        theta, *_ = _climb(sample, theta, _SAMPLE_TOLERANCE * weight, information, box)
        information = None if cheap_information else sample(theta)[2]()
    theta, value, gradient, curvature = _climb(
        objective, theta, TOLERANCE * weight, information, box, blind=bool(samples)
    )
    return theta, value, gradient, curvature(), _held(theta, gradient, box)


def _box(size: int) -> Bounds:
    return np.full(size, -BOX), np.full(size, BOX)


def _climb(
    objective: Objective,
    theta: FloatArray,
    tolerance: float,
    information: FloatArray | None,
    box: Bounds,
    *,
    blind: bool = True,
) -> tuple[FloatArray, float, FloatArray, Callable[[], FloatArray]]:
    """Climb to the top by Newton's method.

    Parameters
    ----------
    objective : callable
    theta : ndarray, shape (p,)
        Where to begin.
    tolerance : float
        Largest derivative at the top.
    information : ndarray, shape (p, p), optional
        That of an approximation, which serves where the exact one costs many gradients, unless a
        step fails or it leads to the top too slowly. By default the exact one is used throughout.
    blind : bool
        Whether the last step of an exact climb may be taken without looking at where it ends.

    Returns
    -------
    theta, value, gradient, curvature
        After a blind step the gradient is what Newton's quadratic convergence leaves of it, and the
        curvature that before it.
    """
    value, gradient, curvature = objective(theta)
    exact, before = information is None, np.inf
    for step in range(60):
        # A borrowed curvature leads to the top linearly. When that takes long, the true one pays.
        if exact or step == _PATIENCE:
            information, exact = curvature(), True
        assert information is not None  # noqa: S101 - for the reader of types
        edge = _held(theta, gradient, box)
        steepest = float(np.abs(np.where(edge, 0.0, gradient)).max(initial=0.0))
        if steepest <= 1e-2 * tolerance:
            break
        move = _newton_step(information, gradient, edge)
        # The derivatives have shrunk from d' to d = c d'^2, so that c d^2 will be left.
        left = (steepest / before) ** 2
        settled = exact and steepest * left <= 1e-2 * tolerance
        # The gradient there would cost a pass over all rows to say what is known: it is 0.
        if blind and settled and np.abs(move).max() <= _BLIND:
            value += float(gradient @ move) / 2.0
            return np.clip(theta + move, *box), value, gradient * left, curvature
        before = steepest if exact else np.inf
        moved = _line_search(objective, theta, value, move, gradient, box)
        if moved is None:
            if exact:
                break
            information, exact = curvature(), True
            continue
        theta, (value, gradient, curvature) = moved
    return theta, value, gradient, curvature


def _held(theta: FloatArray, gradient: FloatArray, box: Bounds) -> BoolArray:
    # On the edge and pulled outwards: such a coordinate is left alone, others go on.
    low = (theta <= box[0] + 1e-9) & (gradient <= 0)
    high = (theta >= box[1] - 1e-9) & (gradient >= 0)
    return np.asarray(low | high)


def _newton_step(information: FloatArray, gradient: FloatArray, edge: BoolArray) -> FloatArray:
    """Newton's step in the free directions, uphill even where the function is not concave."""
    step = np.zeros_like(gradient)
    free = ~edge
    if not free.any():
        return step
    values, vectors = np.linalg.eigh(information[np.ix_(free, free)])
    # A negative eigenvalue is turned round: Newton would otherwise walk down to a saddle.
    curvature = np.maximum(np.abs(values), 1e-10 * np.abs(values).max() + 1e-300)
    step[free] = vectors @ ((vectors.T @ gradient[free]) / curvature)
    # Two in logarithms is a factor of seven; further the quadratic model says nothing.
    longest = np.abs(step).max()
    return step * min(1.0, 2.0 / longest) if longest > 0 else step


def _line_search(
    objective: Objective,
    theta: FloatArray,
    value: float,
    step: FloatArray,
    gradient: FloatArray,
    box: Bounds,
) -> tuple[FloatArray, Evaluation] | None:
    # Within the rounding of the value, a step counts as progress if the gradient shrinks.
    slack = 1e-13 * abs(value)
    for _ in range(12):
        trial = np.clip(theta + step, *box)
        if np.array_equal(trial, theta):
            return None
        found = objective(trial)
        shrinks = np.abs(found[1]).max() < np.abs(gradient).max()
        if found[0] > value + slack or (found[0] >= value - slack and shrinks):
            return trial, found
        # Halving would need twice the evaluations, each a pass over the data.
        step = step / 4.0
    return None


def differentiated(
    function: Callable[[FloatArray], tuple[float, FloatArray]], step: float = 1e-4
) -> Objective:
    """Add the information to a function that returns value and exact gradient.

    Central differences of the gradient, symmetrised: the error is of the order ``step**2``
    relative, far below the sampling error that the information measures.
    """

    def objective(theta: FloatArray) -> Evaluation:
        def information() -> FloatArray:
            rows = np.empty((len(theta), len(theta)))
            for i in range(len(theta)):
                move = np.zeros(len(theta))
                move[i] = step
                rows[i] = (function(theta - move)[1] - function(theta + move)[1]) / (2.0 * step)
            return np.asarray((rows + rows.T) / 2.0)

        return *function(theta), information

    return objective


def process_objective(
    process: PurchaseProcess, rows: Rows, blocks: Sequence[Block] = (), ridge: float = 0.0
) -> Objective:
    """Penalised log-likelihood of a purchase process and its gradient.

    Parameters
    ----------
    process : PurchaseProcess
        Supplies ``score``.
    rows : Rows
    blocks : sequence of Block
        Covariates; the argument is the log-parameters followed by one coefficient per block.
    ridge : float
        ``ridge / 2 * sum(coefficient**2)`` is taken off.
    """
    if not blocks and isinstance(process, CountedProcess):
        return process.counted(*rows)
    names = process.NAMES
    place = [names.index(block.parameter) for block in blocks]

    def value_and_gradient(theta: FloatArray) -> tuple[float, FloatArray]:
        coefficients = theta[len(names) :]
        params = row_params(process, blocks, theta)
        each, by_parameter = process.score(params, rows.x, rows.t_x, rows.T)
        weighted = by_parameter * rows.weights
        by_coefficient = [
            block.sign * float(weighted[j] @ block.z)
            for j, block in zip(place, blocks, strict=True)
        ]
        gradient = np.concatenate([weighted.sum(axis=1), by_coefficient - ridge * coefficients])
        value = float(rows.weights @ each) - 0.5 * ridge * float(coefficients @ coefficients)
        return value, gradient

    return differentiated(value_and_gradient)


def row_params(process: PurchaseProcess, blocks: Sequence[Block], theta: FloatArray) -> Any:
    """Parameters of the rows: numbers, or arrays where covariates act.

    Parameters
    ----------
    process : PurchaseProcess
    blocks : sequence of Block
    theta : ndarray, shape (p,)
        Log-parameters, then one coefficient per block.
    """
    size = len(process.NAMES)
    values: list[Any] = list(theta[:size])
    for block, c in zip(blocks, theta[size:], strict=True):
        j = process.NAMES.index(block.parameter)
        values[j] = values[j] + block.sign * c * block.z
    return process.make([np.exp(v) for v in values])


def fit_process(
    process: PurchaseProcess,
    rows: Rows,
    blocks: Sequence[Block] = (),
    *,
    ridge: float = 0.0,
    start: FloatArray | None = None,
) -> Fit:
    """Fit a purchase process, time being scaled to order one.

    Returns
    -------
    Fit
        Coefficients and covariance are on the scale of the covariates as given, and the
        log-parameters are those at covariates of zero.
    """
    size = len(process.NAMES)
    begin = np.zeros(size) if start is None else start[:size]
    begin = np.concatenate([begin, np.zeros(len(blocks))])

    def objective_of(index: slice | IntArray, share: float) -> Objective:
        some = Rows(*(column[index] for column in rows))
        some = some._replace(weights=some.weights * share)
        return process_objective(process, some, [b.thinned(index) for b in blocks], ridge)

    cheap = not blocks and isinstance(process, CountedProcess)
    names = [*process.NAMES, *(block.name for block in blocks)]
    fit = fit_rows(names, objective_of, rows.weights, begin, cheap_information=cheap)
    coefficients = fit.theta[size:]
    penalty = 0.5 * ridge * float(coefficients @ coefficients)
    fit = replace(
        fit,
        log_likelihood=fit.log_likelihood + penalty,
        blocks=tuple(block.name for block in blocks),
    )
    return _on_given_scale(fit, process.NAMES, blocks)


@on_one_thread
def fit_rows(
    names: Sequence[str],
    objective_of: Callable[[Any, float], Objective],
    weights: FloatArray,
    start: FloatArray,
    *,
    cheap_information: bool = False,
    bounds: Bounds | None = None,
    near: bool = False,
) -> Fit:
    """Fit any likelihood of counted rows.

    Parameters
    ----------
    names : sequence of str
        Names of the coordinates, for the boundary.
    objective_of : callable
        Builds the objective of some rows (a slice or rising indices), their weights multiplied by
        a number.
    weights : ndarray, shape (n,)
        Weights of the rows, which are sorted, so that one of every few makes a fair sample.
    start, cheap_information, bounds, near
        See :func:`maximise`.
    """
    objective = objective_of(slice(None), 1.0)
    weight = float(weights.sum())
    samples = []
    for size in _SAMPLES:
        if len(weights) > 2 * size:
            some = thin_rows(len(weights), size)
            samples.append(objective_of(some, weight / float(weights[some].sum())))
    theta, value, gradient, information, edge = maximise(
        objective,
        start,
        weight,
        samples=samples,
        cheap_information=cheap_information,
        bounds=bounds,
        near=near,
    )
    flat = _not_identified(information, edge, weight)
    boundary = tuple(
        (name, _side(at, bool(held)))
        for name, at, held, loose in zip(names, theta, edge, flat, strict=True)
        if held or loose
    )
    norm = float(np.abs(np.where(edge, 0.0, gradient)).max()) / weight
    covariance = _inverse(information, edge | flat)
    # Along a ridge that leads out of the box the gradient in the free directions dies slowly.
    converged = norm <= (BOUNDARY_TOLERANCE if boundary else TOLERANCE)
    return Fit(theta, value, covariance, norm, converged, boundary)


def thin_rows(n_rows: int, about: int) -> IntArray:
    """Take one of every few sorted rows, some ``about`` in all.

    The distance between them is no whole number on average. Every k-th row would fall in step with
    what repeats in sorted rows, such as a covariate of two values, and see one of the two.

    Parameters
    ----------
    n_rows, about : int
        ``n_rows >= about >= 1``.

    Examples
    --------
    >>> thin_rows(14, 5).tolist()
    [0, 2, 5, 7, 10, 13]
    """
    distance = n_rows // about + (np.sqrt(5.0) - 1.0) / 2.0
    return np.arange(0.0, n_rows, distance).astype(np.int64)


def _side(theta: float, held: bool) -> Side:
    if not held and abs(theta) < 3.0:
        return "flat"
    return "low" if theta < 0 else "high"


def _not_identified(information: FloatArray, edge: BoolArray, weight: float) -> BoolArray:
    """Coordinates along which the likelihood is flat: a standard error above 5 in logarithms."""
    flat = np.zeros(len(edge), dtype=bool)
    free = np.flatnonzero(~edge)
    if len(free):
        values, vectors = np.linalg.eigh(information[np.ix_(free, free)])
        # A direction counts for a coordinate if it holds a tenth of its square or so.
        loose = np.abs(vectors[:, values < min(0.04, 1e-5 * weight)]) > 0.3
        flat[free] = loose.any(axis=1)
    return flat


def _inverse(information: FloatArray, edge: BoolArray) -> FloatArray:
    """Covariance of the free coordinates; NaN for what the data do not identify."""
    covariance = np.full(information.shape, np.nan)
    free = np.flatnonzero(~edge)
    if len(free):
        values, vectors = np.linalg.eigh(information[np.ix_(free, free)])
        if values[0] > 1e-10 * max(values[-1], 0.0):
            covariance[np.ix_(free, free)] = (vectors / values) @ vectors.T
    return covariance


def to_given_scale(names: Sequence[str], blocks: Sequence[Block]) -> FloatArray:
    """Matrix from standardised covariates to those as given, shape (p, p).

    It takes log-parameters at mean covariates and coefficients per standard deviation to
    log-parameters at covariates of zero and coefficients per unit (0 where nothing varies).
    """
    change = np.eye(len(names) + len(blocks))
    for i, block in enumerate(blocks, start=len(names)):
        scale = 1.0 / block.deviation if block.deviation > 0 else 0.0
        change[names.index(block.parameter), i] = -block.sign * block.mean * scale
        change[i, i] = scale
    return change


def _on_given_scale(fit: Fit, names: Sequence[str], blocks: Sequence[Block]) -> Fit:
    if not blocks:
        return fit
    change = to_given_scale(names, blocks)
    covariance = change @ fit.covariance @ change.T
    constant = np.diag(change) == 0.0
    covariance[constant] = covariance[:, constant] = np.nan
    return replace(fit, theta=change @ fit.theta, covariance=covariance)
