"""Posterior of a few parameters: Laplace with importance resampling, or an ensemble.

Parameters are positive and sampled by their logarithms; beside them may stand coefficients, which
have any sign and are sampled as they are. The posterior is first approximated by a multivariate t
distribution at the mode, whose quasi-random draws are reweighted to the true density; where the
weights are uneven the proposal is moved to the weighted mean and covariance and drawn anew, more
often where the tail is light. The Pareto shape ``k`` of the last weights and their effective size
say whether that is trustworthy; if not (``k > 0.7``, or too few effective) an affine-invariant
ensemble samples the density itself. Which of the two was used is recorded, never hidden.

With very many rows the density may be given on a thinned sample of them too. The full rows then
supply mode and curvature, and the sample only what lies beyond the second order, which is small
just when rows are many (the control variate of Quiroz et al. 2019).

References
----------
Goodman, Weare (2010) Comm. Appl. Math. Comp. Sci. 5(1), stretch move.
ter Braak (2006) Statistics and Computing 16(3), differential evolution move.
Quiroz, Kohn, Villani, Tran (2019) JASA 114(526), subsampling with control variates.
Vehtari, Simpson, Gelman, Yao, Gabry (2024) JMLR 25(72), Pareto-smoothed importance sampling.
Zhang, Stephens (2009) Technometrics 51(3), generalised Pareto fit.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self, TypeAlias

import numpy as np
from scipy import special, stats

from crmml._typing import BoolArray, FloatArray
from crmml.exceptions import ConvergenceWarning, ParameterError
from crmml.stats.threads import on_one_thread

LogDensity: TypeAlias = Callable[[FloatArray], float]
"""Log-density, up to a constant, at one vector of log-parameters (and coefficients)."""

LogDensityGradient: TypeAlias = Callable[[FloatArray], tuple[float, FloatArray]]
"""Log-density and its gradient at one such vector."""


class Density(NamedTuple):
    """A log-density without and with its gradient."""

    value: LogDensity
    gradient: LogDensityGradient


PARETO_K_LIMIT = 0.7
_PROPOSAL_DF = 8.0
_NEWTON_STEPS = 50
_ROUNDS = 4
_GOOD_K = 0.5
_LEAST_EFFICIENCY = 0.2
_WALKERS_PER_PARAMETER = 10
_ENSEMBLE_BLOCK = 200
_ENSEMBLE_MOST_STEPS = 5_000
_ENSEMBLE_MOST_EVALUATIONS = 200_000
_AUTOCORRELATION_TIMES = 25


@dataclass(frozen=True)
class Posterior:
    """Equally probable draws of parameters, and how far to trust them.

    Attributes
    ----------
    names : tuple of str
        Parameters and coefficients, in the order of the columns of ``draws``.
    draws : ndarray, shape (n_draws, n_parameters)
        On the natural scale, in the units of the fitted model.
    log_mean : ndarray, shape (n_parameters,)
        Posterior mean of the log-parameters (of a coefficient: of itself), from all weighted
        proposals.
    log_covariance : ndarray, shape (n_parameters, n_parameters)
        Posterior covariance of the same.
    method : {"laplace", "ensemble"}
        ``laplace`` is importance resampling from the Laplace approximation; ``ensemble`` the
        affine-invariant ensemble, used where the weights are not to be trusted.
    pareto_k : float
        Shape of the tail of the importance weights of the Laplace approximation; below 0.5 good,
        above 0.7 not to be trusted.
    effective_sample_size : float
        Of the weighted proposals, or of the chain after its burn-in.
    coefficients : tuple of str
        Which of ``names`` have any sign, so that no logarithm is taken of them.
    """

    names: tuple[str, ...]
    draws: FloatArray
    log_mean: FloatArray
    log_covariance: FloatArray
    method: Literal["laplace", "ensemble"]
    pareto_k: float
    effective_sample_size: float
    coefficients: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.draws)

    @property
    def mean(self) -> dict[str, float]:
        """Mean of each parameter over the draws."""
        return dict(zip(self.names, self.draws.mean(axis=0).tolist(), strict=True))

    @property
    def sd(self) -> dict[str, float]:
        """Standard deviation of each parameter over the draws."""
        return dict(zip(self.names, self.draws.std(axis=0, ddof=1).tolist(), strict=True))

    def thin(self, n_draws: int) -> FloatArray:
        """Return at most ``n_draws`` rows of ``draws``, spread evenly.

        Parameters
        ----------
        n_draws : int
            At least 1.

        Returns
        -------
        ndarray, shape (min(n_draws, len(self)), n_parameters)
        """
        if n_draws < 1:
            raise ParameterError("n_draws", ">= 1", n_draws)
        # Resampled draws stand in random order, so any even choice is a fair one.
        keep = np.linspace(0, len(self) - 1, min(n_draws, len(self))).round().astype(int)
        return np.asarray(self.draws[keep])

    def nodes(self) -> FloatArray:
        """Few equally weighted parameter vectors that stand for the posterior in integrals.

        Returns
        -------
        ndarray, shape (n_nodes, n_parameters)
            The ``2 d`` points of the spherical-radial cubature on the log-parameters, which
            integrates every polynomial of degree three exactly (Arasaratnam, Haykin 2009, IEEE
            Trans. Autom. Control 54(6), eq. 36). Where the ensemble was needed the posterior is
            far from normal and 32 draws are returned instead.
        """
        if self.method == "ensemble":
            return self.thin(32)
        # A coefficient is as small as its column is large: the root needs them of like size.
        deviation = np.sqrt(np.diag(self.log_covariance))
        unit = np.where(self._positive | (deviation == 0.0), 1.0, deviation)
        root = unit[:, None] * _root(self.log_covariance / np.outer(unit, unit))
        root *= np.sqrt(len(self.names))
        z = np.vstack([self.log_mean + root.T, self.log_mean - root.T])
        return _natural(z, self._positive)

    def moved(self, change: FloatArray) -> Self:
        """Map the log-parameters and coefficients linearly.

        Parameters
        ----------
        change : ndarray, shape (n_parameters, n_parameters)
        """
        z = np.log(self.draws, where=self._positive, out=self.draws.copy()) @ change.T
        return replace(
            self,
            draws=_natural(z, self._positive),
            log_mean=change @ self.log_mean,
            log_covariance=change @ self.log_covariance @ change.T,
        )

    @property
    def _positive(self) -> BoolArray:
        return _positive(self.names, self.coefficients)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "names": list(self.names),
            "draws": self.draws.tolist(),
            "log_mean": self.log_mean.tolist(),
            "log_covariance": self.log_covariance.tolist(),
            "method": self.method,
            "pareto_k": self.pareto_k,
            "effective_sample_size": self.effective_sample_size,
            "coefficients": list(self.coefficients),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Self:
        """Rebuild from :meth:`to_dict`."""
        return cls(
            names=tuple(stored["names"]),
            draws=np.asarray(stored["draws"], dtype=np.float64),
            log_mean=np.asarray(stored["log_mean"], dtype=np.float64),
            log_covariance=np.asarray(stored["log_covariance"], dtype=np.float64),
            method=stored["method"],
            pareto_k=float(stored["pareto_k"]),
            effective_sample_size=float(stored["effective_sample_size"]),
            # Posteriors stored before they could hold coefficients hold none.
            coefficients=tuple(stored.get("coefficients", ())),
        )


@dataclass(frozen=True)
class NormalPrior:
    """Independent normal priors on the log-parameters and coefficients.

    Attributes
    ----------
    mean, sd : ndarray, shape (n_parameters,)
        Of the natural logarithm of each parameter, of each coefficient itself; ``sd > 0``.
    """

    mean: FloatArray
    sd: FloatArray

    def log_density(self, z: FloatArray) -> tuple[float, FloatArray]:
        """Log-density up to a constant, and its gradient, at log-parameters ``z``."""
        standard = (z - self.mean) / self.sd
        return -0.5 * float(standard @ standard), -standard / self.sd


@on_one_thread
def sample_posterior(
    names: Sequence[str],
    density: Density,
    start: FloatArray,
    *,
    n_draws: int = 200,
    seed: int = 0,
    n_proposals: int = 1024,
    method: Literal["auto", "laplace", "ensemble"] = "auto",
    thinned: Density | None = None,
    coefficients: Sequence[str] = (),
) -> Posterior:
    """Draw from the posterior of log-parameters and coefficients.

    Parameters
    ----------
    names : sequence of str
        Parameters and coefficients.
    density : Density
        Log-posterior density of the log-parameters and coefficients, which should vary by about
        as much as each other; and the same with its gradient.
    start : ndarray, shape (n_parameters,)
        Where to start from, for example the maximum likelihood estimate.
    n_draws : int
        Equally probable draws to keep.
    seed : int
        Seed of all randomness.
    n_proposals : int
        Weighted draws from the Laplace approximation; rounded up to a power of two. Four times as
        many follow where few are effective but the tail is light.
    method : {"auto", "laplace", "ensemble"}
        ``auto`` uses the ensemble where the Pareto shape exceeds 0.7 (less with few proposals) or
        the effective size is below a fifth of ``n_proposals``.
    thinned : Density, optional
        The same on a thinned sample of the rows weighted up to the whole; stands in for
        the terms of third and higher order.
    coefficients : sequence of str
        Which of ``names`` have any sign, so that the density takes them as they are.

    Returns
    -------
    Posterior

    Warns
    -----
    ConvergenceWarning
        If the ensemble stopped before 25 autocorrelation times, or if ``method="laplace"`` was
        asked for and is not to be trusted.
    """
    if n_draws < 2:
        raise ParameterError("n_draws", ">= 2", n_draws)
    # One exact mode and curvature; thousands of densities then need the thinned rows only.
    mode, curvature = _laplace(density, thinned, np.asarray(start, dtype=np.float64))
    log_density = density.value
    if thinned is not None:
        log_density = _control_variate(density, thinned, mode, curvature)
    least = _LEAST_EFFICIENCY * n_proposals
    z, log_p, weight, k = _importance(
        log_density, mode, _inverse(curvature), n_proposals, seed, least
    )
    mean, spread, size = _moments(z, weight)
    # The limit of k falls with fewer proposals (Vehtari et al. 2024, eq. 13).
    limit = min(PARETO_K_LIMIT, 1.0 - 1.0 / np.log10(len(z)))
    trusted = k <= limit and size >= least
    if method == "laplace" and not trusted:
        warnings.warn(
            ConvergenceWarning(
                f"the Laplace approximation is not to be trusted here (Pareto k = {k:.2f}, limit "
                f"{limit:.2f}; effective size {size:.0f} of {len(z):,}); use method='auto'"
            ),
            stacklevel=2,
        )
    rng = np.random.default_rng([seed, 1])
    positive = _positive(names, coefficients)
    if method == "ensemble" or (method == "auto" and not trusted):
        chain, chain_size = _ensemble(log_density, z, log_p, weight, rng)
        keep = np.linspace(0, len(chain) - 1, n_draws).round().astype(int)
        return Posterior(
            tuple(names),
            _natural(chain[keep], positive),
            chain.mean(axis=0),
            np.cov(chain.T).reshape(len(names), len(names)),
            "ensemble",
            k,
            chain_size,
            tuple(coefficients),
        )
    return Posterior(
        tuple(names),
        _natural(z[_systematic(weight, n_draws, rng)], positive),
        mean,
        spread,
        "laplace",
        k,
        size,
        tuple(coefficients),
    )


def _moments(z: FloatArray, weight: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Mean, covariance and effective size of weighted draws."""
    mean = weight @ z
    centred = z - mean
    return mean, (centred * weight[:, None]).T @ centred, float(1.0 / np.sum(weight**2))


def _importance(
    log_density: LogDensity,
    mode: FloatArray,
    covariance: FloatArray,
    n_proposals: int,
    seed: int,
    least: float,
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Weighted draws, their log-densities, their weights and the Pareto shape of these."""
    for _ in range(_ROUNDS):
        z, log_q = _proposals(mode, covariance, n_proposals, seed)
        # What is not finite has no weight, instead of spoiling all of them.
        log_p = np.array([_finite(log_density(row)) for row in z])
        log_weight, k = smooth_weights(log_p - log_q)
        weight = np.exp(log_weight)
        mean, spread, size = _moments(z, weight)
        if k <= _GOOD_K and size >= least:
            break
        # A light tail with few effective draws, as of many parameters, asks for more of them.
        if k <= PARETO_K_LIMIT and size < least:
            n_proposals *= 4
        # Moment matching: a skewed posterior is better proposed from its own mean and spread.
        mode, covariance = mean, spread
    return z, log_p, weight, k


def _positive(names: Sequence[str], coefficients: Sequence[str]) -> BoolArray:
    return np.array([name not in coefficients for name in names])


def _natural(z: FloatArray, positive: BoolArray) -> FloatArray:
    """Turn log-parameters to parameters; coefficients stay."""
    return np.exp(z, where=positive, out=z.copy())


def _finite(value: float) -> float:
    return value if np.isfinite(value) else -np.inf


def _laplace(
    density: Density, thinned: Density | None, start: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Climb to the mode by Newton's method; return it and the curvature there.

    On the way the curvature of the thinned rows is near enough.
    """
    gradient, mode = density.gradient, start
    value, slope = gradient(mode)
    for _ in range(_NEWTON_STEPS):
        curvature = _curvature((thinned or density).gradient, mode)
        step = _inverse(curvature) @ slope
        # Far from the mode the curvature misleads, and a step of e squared is enough.
        step *= min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        # In standard deviations: what is left is far below the width of the posterior.
        if float(slope @ step) < 1e-6:
            break
        for _ in range(20):
            new_value, new_slope = gradient(mode + step)
            if new_value > value:
                break
            step /= 3.0
        else:
            break
        mode, value, slope = mode + step, new_value, new_slope
    return mode, curvature if thinned is None else _curvature(gradient, mode)


def _curvature(gradient: LogDensityGradient, z: FloatArray) -> FloatArray:
    """Minus the Hessian, by central differences of the gradient."""
    step = 1e-4
    rows = [
        (gradient(z - step * e)[1] - gradient(z + step * e)[1]) / (2.0 * step)
        for e in np.eye(len(z))
    ]
    return np.asarray((np.array(rows) + np.array(rows).T) / 2.0)


def _inverse(curvature: FloatArray) -> FloatArray:
    """Invert to a covariance; a flat or rising direction gets a wide one, judged by the weights."""
    values, vectors = np.linalg.eigh(curvature)
    return np.asarray((vectors / np.maximum(np.abs(values), 1e-2)) @ vectors.T)


def _control_variate(
    density: Density, thinned: Density, mode: FloatArray, curvature: FloatArray
) -> LogDensity:
    """Second order from the full rows, everything beyond from the thinned ones."""
    value, thin_slope = thinned.gradient(mode)
    tilt = density.gradient(mode)[1] - thin_slope
    bend = _curvature(thinned.gradient, mode) - curvature

    def log_density(z: FloatArray) -> float:
        d = z - mode
        return thinned.value(z) - value + float(tilt @ d) + 0.5 * float(d @ bend @ d)

    return log_density


def _root(covariance: FloatArray) -> FloatArray:
    """Symmetric square root, which unlike Cholesky does not depend on the parameters' order."""
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def _proposals(
    mode: FloatArray, covariance: FloatArray, n: int, seed: int
) -> tuple[FloatArray, FloatArray]:
    """Quasi-random draws of a multivariate t at the mode, and their log-density."""
    # With freedom in step with the dimension as many draws count in fifty as in four.
    d = len(mode)
    df = max(_PROPOSAL_DF, 2.0 * d)
    # A quasi-random point set lies evenly, so that a thousand proposals do the work of many.
    sobol = stats.qmc.Sobol(d + 1, rng=np.random.default_rng([seed, 0]))
    u = np.clip(sobol.random_base2(max(1, int(np.ceil(np.log2(n))))), 1e-12, 1.0 - 1e-12)
    mix = df / stats.chi2.ppf(u[:, d], df)
    # The coordinate beyond the parameters is the common chi square that makes a normal a t.
    standard = special.ndtri(u[:, :d]) * np.sqrt(mix)[:, None]
    distance = (standard**2).sum(axis=1)
    return mode + standard @ _root(covariance), -0.5 * (df + d) * np.log1p(distance / df)


def fit_generalised_pareto(x: FloatArray) -> tuple[float, float]:
    """Fit a generalised Pareto distribution with threshold 0.

    Parameters
    ----------
    x : ndarray, shape (n,)
        Positive exceedances in rising order.

    Returns
    -------
    k, sigma : float
        Shape (positive is a heavy tail, as ``c`` of :class:`scipy.stats.genpareto`) and scale, the
        empirical Bayes estimate of Zhang and Stephens (2009).
    """
    n = len(x)
    m = 30 + int(np.sqrt(n))
    grid = 1.0 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))
    b = grid / (3.0 * x[int(n / 4.0 + 0.5) - 1]) + 1.0 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(axis=1)
    profile = n * (np.log(-b / k) - k - 1.0)
    weight = np.exp(profile - special.logsumexp(profile))
    best = float(weight @ b)
    shape = float(np.log1p(-best * x).mean())
    return shape, -shape / best


def smooth_weights(log_ratio: FloatArray) -> tuple[FloatArray, float]:
    """Pareto-smooth importance weights.

    Parameters
    ----------
    log_ratio : ndarray, shape (n,)
        Log of target density over proposal density, up to a constant; ``-inf`` is legal.

    Returns
    -------
    log_weight : ndarray, shape (n,)
        Normalised, the largest fifth (at most ``3 sqrt(n)``) replaced by expected order
        statistics of the fitted Pareto tail and truncated at the largest raw weight.
    k : float
        Shape of that tail, ``inf`` if it cannot be fitted.
    """
    n = len(log_ratio)
    log_weight = log_ratio - np.max(log_ratio)
    size = int(np.ceil(min(0.2 * n, 3.0 * np.sqrt(n))))
    order = np.argsort(log_weight, kind="stable")
    tail = order[n - size :]
    cut = log_weight[order[n - size - 1]]
    excess = np.exp(log_weight[tail]) - np.exp(cut)
    k = np.inf
    if size >= 5 and np.isfinite(cut) and excess[0] > 0:
        shape, sigma = fit_generalised_pareto(excess)
        # The weak prior of Vehtari et al. (2024), appendix G: ten observations at k = 0.5.
        k = (shape * size + 0.5 * 10.0) / (size + 10.0)
        probability = (np.arange(size) + 0.5) / size
        quantile = (
            sigma * np.expm1(-k * np.log1p(-probability)) / k
            if abs(k) > 1e-9
            else -sigma * np.log1p(-probability)
        )
        log_weight[tail] = np.minimum(np.log(quantile + np.exp(cut)), 0.0)
    return log_weight - special.logsumexp(log_weight), float(k)


def _systematic(
    weight: FloatArray, n: int, rng: np.random.Generator
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Systematic resampling, then a shuffle so that any part of the draws is a fair sample."""
    cumulative = np.cumsum(weight)
    # One random number for all: a draw of weight w comes n w times, but for rounding.
    points = (np.arange(n) + rng.uniform()) / n * cumulative[-1]
    chosen = np.minimum(np.searchsorted(cumulative, points), len(weight) - 1)
    return rng.permutation(chosen)


def _ensemble(
    log_density: LogDensity,
    z: FloatArray,
    log_p: FloatArray,
    weight: FloatArray,
    rng: np.random.Generator,
) -> tuple[FloatArray, float]:
    """Move each half of the walkers along the other; start from the best weighted proposals.

    Returns the chain after its first half, walkers side by side, and its effective size.
    """
    d = z.shape[1]
    # Fewer walkers than parameters would move in a plane that they never leave.
    half = max(_WALKERS_PER_PARAMETER * d // 2, d + 1)
    usable = np.flatnonzero(np.isfinite(log_p))
    # The best proposals already lie in the bulk, so the burn-in is short.
    start = usable[np.argsort(-weight[usable], kind="stable")[: 2 * half]]
    if len(start) < 2 * half:
        raise ParameterError("the posterior density", "finite around its mode", "-inf")
    walkers, value = z[start].copy(), log_p[start].copy()
    history: list[FloatArray] = []
    most_steps = min(_ENSEMBLE_MOST_STEPS, _ENSEMBLE_MOST_EVALUATIONS // (2 * half))
    while True:
        for _ in range(_ENSEMBLE_BLOCK):
            for mine, others in ((slice(0, half), half), (slice(half, 2 * half), 0)):
                proposal, log_ratio = _move(walkers[mine], walkers[others : others + half], rng)
                new = np.array([_finite(log_density(row)) for row in proposal])
                accept = np.log(rng.uniform(size=half)) < log_ratio + new - value[mine]
                walkers[mine] = np.where(accept[:, None], proposal, walkers[mine])
                value[mine] = np.where(accept, new, value[mine])
            history.append(walkers.copy())
        steps = len(history)
        # Half is thrown away as burn-in, however long the chain grows.
        kept = np.array(history[steps // 2 :])
        # The slowest parameter decides.
        tau = max(_autocorrelation_time(kept[:, :, j]) for j in range(d))
        enough = len(kept) >= _AUTOCORRELATION_TIMES * tau
        if enough or steps >= most_steps:
            break
    size = len(kept) * 2 * half / tau
    if not enough:
        warnings.warn(
            ConvergenceWarning(
                f"the ensemble stopped after {steps:,} steps, {len(kept) / tau:.0f} "
                f"autocorrelation times instead of {_AUTOCORRELATION_TIMES}: intervals are rough "
                f"(effective sample size {size:.0f}); fewer covariates, a ridge or a narrower "
                "prior would help"
            ),
            stacklevel=3,
        )
    return kept.reshape(-1, d), float(size)


def _move(
    walkers: FloatArray, others: FloatArray, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Propose for one half from the other: a stretch or a difference of two, by a coin.

    Returns the proposals and the logarithm of their Hastings factor.
    """
    n, d = walkers.shape
    first = rng.integers(n, size=n)
    if rng.uniform() < 0.5:
        # Density 1/sqrt(z) on [1/2, 2] (Goodman, Weare 2010, eq. 9).
        z = np.square(1.0 + rng.uniform(size=n)) / 2.0
        return others[first] + z[:, None] * (walkers - others[first]), (d - 1.0) * np.log(z)
    second = (first + rng.integers(1, n, size=n)) % n
    # Scale of ter Braak (2006), eq. 2; now and then 1, to jump between modes.
    scale = 2.38 / np.sqrt(2.0 * d) if rng.uniform() < 0.9 else 1.0
    noise = 1e-5 * rng.standard_normal((n, d))
    return walkers + scale * (others[first] - others[second]) + noise, np.zeros(n)


def _autocorrelation_time(series: FloatArray) -> float:
    """Integrated autocorrelation time of walkers (n_steps, n_walkers), Sokal's window."""
    n = len(series)
    centred = series - series.mean()
    # Padded to twice the length, or the end of the chain would touch its beginning.
    spectrum = np.abs(np.fft.rfft(centred, 2 * n, axis=0)) ** 2
    covariance = np.fft.irfft(spectrum, axis=0)[:n].mean(axis=1)
    if covariance[0] <= 0:
        return float(n)
    times = 2.0 * np.cumsum(covariance / covariance[0]) - 1.0
    window = np.flatnonzero(np.arange(n) >= 5.0 * times)
    return float(max(times[window[0] if len(window) else n - 1], 1.0))
