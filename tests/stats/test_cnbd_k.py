"""(M)BG/CNBD-k: identities at k = 1, direct integrals, simulated worlds, the choice of k."""

import math
from functools import cache

import mpmath as mp
import numpy as np
import pandas as pd
import pytest
from hypothesis import strategies as st
from scipy.special import beta, gammaln, logsumexp

from crmml.exceptions import DataError, MissingColumnsError, ParameterError, RegularityWarning
from crmml.features.snapshot import Snapshot
from crmml.models import (
    BetaGeoModel,
    ModifiedBetaGeoModel,
    RegularPurchaseModel,
    from_dict,
)
from crmml.stats import bg_nbd, mbg_nbd
from crmml.stats.cnbd_k import ErlangProcess, Params

THETA = (0.6, 6.0, 0.9, 1.6)
PLAIN = {"modified": mbg_nbd, "plain": bg_nbd}
X = np.array([0.0, 1, 5, 26, 300, 2])
T_X = np.array([0.0, 2, 30, 30.857, 364.9, 1])
T = np.array([38.0, 40, 39, 31, 365, 1])
both_dropouts = pytest.mark.parametrize("dropout", ["modified", "plain"])


# -- k = 1 ---------------------------------------------------------------------------------------


@both_dropouts
def test_at_k_1_everything_equals_bg_nbd_and_mbg_nbd(dropout):
    process, plain = ErlangProcess(1, dropout), PLAIN[dropout]
    ours, theirs = process.make(THETA), plain.make(THETA)
    past = X, T_X, T
    for name in ("log_likelihood", "probability_alive"):
        expected = getattr(plain, name)(theirs, *past)
        assert getattr(process, name)(ours, *past) == pytest.approx(expected, rel=1e-13)
    gradients = process.score(ours, *past)[1], plain.score(theirs, *past)[1]
    assert gradients[0] == pytest.approx(gradients[1], abs=1e-12)
    future, t = process.if_alive(ours, *past), np.array([39.0, 52, 0.01, 52, 365, 500])
    expected_future = plain.if_alive(theirs, *past)
    expected = plain.expected_purchases(expected_future, t)
    assert process.expected_purchases(future, t) == pytest.approx(expected, rel=1e-11)
    expected = plain.pmf(expected_future, t, 20)
    assert process.pmf(future, t, 20) == pytest.approx(expected, abs=1e-14)
    for until in (t, np.full(6, np.inf)):
        expected = plain.discounted_purchases(expected_future, until, 0.0018)
        found = process.discounted_purchases(future, until, 0.0018)
        assert found == pytest.approx(expected, rel=1e-11)


# -- the likelihood ------------------------------------------------------------------------------


def integral(k, dropout, x, t_x, T):
    """Log-likelihood of one history, gap constant apart, by the trapezoidal rule over rates."""
    r, alpha, a, b = THETA
    chances = x + 1 if dropout == "modified" else x
    y = np.linspace(-30, 4, 20_001)
    rate = np.exp(y)
    quiet = sum((rate * (T - t_x)) ** j / math.factorial(j) for j in range(k))
    stays = np.exp(-rate * (T - t_x)) * quiet * beta(a, b + chances)
    goes = beta(a + 1, b + chances - 1)
    log_prior = r * np.log(alpha) + r * y - alpha * rate - gammaln(r)
    terms = log_prior + k * x * y - rate * t_x + np.log((stays + goes) / beta(a, b))
    return logsumexp(terms) + np.log(y[1] - y[0])


@both_dropouts
@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("history", [(1, 2.0, 40.0), (5, 30.0, 39.0), (26, 30.857, 31.0)])
def test_likelihood_equals_the_integral_over_the_rate(dropout, k, history):
    process = ErlangProcess(k, dropout)
    found = process.log_likelihood(process.make(THETA), *(np.array([float(v)]) for v in history))
    assert found[0] == pytest.approx(integral(k, dropout, *history), rel=1e-12)


# -- mpmath references ---------------------------------------------------------------------------


def stage_probabilities(k, R, silence):
    weights = [mp.rf(R, j) / mp.factorial(j) * mp.mpf(silence) ** j for j in range(k)]
    return [weight / sum(weights) for weight in weights]


def purchase_rate(k, j, R, alpha, a, b, s):
    """Density of purchases at s from stage j: beta prime times dropout, summed outwards."""
    R, u = R + j, s / (alpha + s)

    def next_over_this(n):
        ticks = mp.fprod(u * (R + n * k - j + i) / (n * k - j + i) for i in range(k))
        return ticks * (b + n - 1) / (a + b + n - 1)

    def outwards(value, n, step):
        while n + step > 0 and value > mp.mpf(10) ** -21 * total:
            value *= next_over_this(n) if step > 0 else 1 / next_over_this(n - 1)
            n += step
            yield value

    start = max(1, int(s * R / alpha / k))
    m = start * k - j
    log_density = (
        m * mp.log(u)
        + R * mp.log(1 - u)
        - mp.log(s)
        + mp.loggamma(R + m)
        - mp.loggamma(m)
        - mp.loggamma(R)
    )
    survived = mp.gammaprod([b + start - 1, a + b], [b, a + b + start - 1])
    total = mp.exp(log_density) * survived
    return total + sum(outwards(total, start, 1)) + sum(outwards(total, start, -1))


def reference_until(k, params, t, delta):
    """Discounted purchases by Gauss-Legendre over panels of time that double."""
    R, alpha, a, b, silence = map(mp.mpf, params)
    ends = [mp.mpf(t)]
    while ends[-1] > alpha * k / (R + k) / 4:
        ends.append(ends[-1] / 2)
    ends = [*reversed(ends)]
    rule = mp.calculus.quadrature.GaussLegendre(mp.mp).calc_nodes(4, 80)
    total = mp.mpf(0)
    for j, stage in enumerate(stage_probabilities(k, R, silence)):
        for low, high in zip([0, *ends], ends, strict=False):
            for node, weight in rule if stage else ():
                s = low + (high - low) * (node + 1) / 2
                rate = purchase_rate(k, j, R, alpha, a, b, s)
                total += stage * weight * (high - low) / 2 * mp.exp(-delta * s) * rate
    return total


def reference_for_ever(k, params, delta):
    """Mean over the tick rate of ``z^(k-j) 2F1(1, b; a + b; z^k)``, z = rate / (rate + delta)."""
    R, alpha, a, b, silence = map(mp.mpf, params)
    stages = stage_probabilities(k, R, silence)

    def integrand(y):
        rate = mp.exp(y)
        z = rate / (rate + delta)
        of_stages = (
            stage
            * mp.exp((R + j) * mp.log(alpha * rate) - alpha * rate - mp.loggamma(R + j))
            * z ** (k - j)
            for j, stage in enumerate(stages)
        )
        return sum(of_stages) * mp.hyp2f1(1, b, a + b, z**k, maxterms=10**6)

    centre, reach = mp.log(R / alpha), 16 / mp.sqrt(R)
    low, high = centre - reach, centre + reach
    if R < 100:
        low = min(centre, mp.log(delta)) - 60 / (R + 1)
        high = mp.log((R + k + 90) / alpha)
    return mp.quad(integrand, mp.linspace(low, high, 25))


HORIZONS = [
    (1 / 168, 0.0018),
    (52.0, 0.0),
    (52.0, 0.0018),
    (521.0, 0.0),
    (521.0, 0.0018),
    (np.inf, 0.0018),
    (np.inf, 0.03),
]
# k, (r, alpha, a, b, silence) of an active customer, and by the two functions above, with 24
# digits, the discounted purchases of each horizon and rate; weeks, that is.
PURCHASES = {
    "newcomer": (
        3,
        (0.6, 1.4, 1.3, 1.7, 0.0),
        [
            3.160841652096773e-8,
            1.952920278886946,
            1.889916394524384,
            3.777562655812513,
            3.202501295426567,
            3.359422594218481,
            1.295328469929023,
        ],
    ),
    "one-time buyer, a = 1": (
        2,
        (0.67, 41.6, 1.0, 2.4, 0.93),
        [
            9.172220143928208e-5,
            0.5649218562662195,
            0.5412838550391435,
            2.762987512937693,
            2.001427602042444,
            2.403259318393892,
            0.3584970962900302,
        ],
    ),
    "a + b < 1": (
        3,
        (0.6, 41.0, 0.3, 0.4, 0.95),
        [
            8.161968233952668e-5,
            0.4669500099412216,
            0.447795166959523,
            2.584246962794415,
            1.812451189234662,
            2.434504064334844,
            0.299549575810899,
        ],
    ),
    "a + b << 1": (
        2,
        (0.6, 2.6, 0.05, 0.1, 0.0),
        [
            2.505835566745695e-6,
            3.783742708833779,
            3.616338360244813,
            32.92943469065433,
            21.67984497595732,
            34.25918826003347,
            2.414386051174221,
        ],
    ),
    "k = 6": (
        6,
        (18.6, 40.0, 0.8, 5.0, 0.1),
        [
            0.0001554289809378193,
            3.477692092282123,
            3.329727793537022,
            14.68827685904673,
            10.87541587533594,
            12.81231728569023,
            2.144400987479478,
        ],
    ),
    "daily for ten years": (
        3,
        (10950.6, 522.4, 1.3, 3652.7, 0.0001),
        [
            0.02913156808702329,
            341.5274061814329,
            326.3425053039921,
            2281.295051686881,
            1584.401627884779,
            1987.633807466501,
            215.9592071811636,
        ],
    ),
    "daily for ten years, a = 1": (
        2,
        (7300.6, 522.4, 1.0, 3652.7, 0.0),
        [
            0.003276114687409834,
            346.1915291773528,
            330.7169868155541,
            2525.761855889915,
            1727.299140207714,
            2269.301875615216,
            219.4475777106485,
        ],
    ),
}


@pytest.mark.parametrize("case", PURCHASES)
def test_expected_and_discounted_purchases_agree_with_mpmath(case):
    k, params, expected = PURCHASES[case]
    process = ErlangProcess(k)
    found = [
        process.discounted_purchases(Params(*params), np.array([t]), delta)[0]
        for t, delta in HORIZONS
    ]
    assert found == pytest.approx(expected, rel=1e-12)
    whole = process.expected_purchases(Params(*params), np.array([52.0, 521.0]))
    assert whole == pytest.approx([expected[1], expected[3]], rel=1e-12)


@pytest.mark.parametrize("case", ["one-time buyer, a = 1", "a + b < 1"])
def test_stored_references_are_those_of_their_functions(case):
    k, params, stored = PURCHASES[case]
    with mp.workdps(24):
        again = reference_until(k, params, 52.0, 0.0018), reference_for_ever(k, params, 0.0018)
    assert [float(v) for v in again] == pytest.approx([stored[2], stored[5]], rel=1e-15)


def reference_history(k, dropout, theta, x, t_x, T):
    """Log-likelihood without the gap constant, P(alive)."""
    r, alpha, a, b = map(mp.mpf, theta)
    R, T, t_x = r + k * x, mp.mpf(T), mp.mpf(t_x)
    chances = x + (dropout == "modified")
    quiet = sum(
        mp.rf(R, j) / mp.factorial(j) * (T - t_x) ** j * (alpha + T) ** -(R + j) for j in range(k)
    )
    active = mp.beta(a, b + chances) / mp.beta(a, b) * quiet
    left = mp.mpf(0)
    if chances:
        left = mp.beta(a + 1, b + chances - 1) / mp.beta(a, b) * (alpha + t_x) ** -R
    start = mp.loggamma(R) - mp.loggamma(r) + r * mp.log(alpha)
    return float(start + mp.log(active + left)), float(active / (active + left))


@both_dropouts
@pytest.mark.parametrize("k", [2, 3, 6])
@pytest.mark.parametrize("theta", [THETA, (0.6, 1.4, 1.0, 2.4), (0.25, 4.4, 0.3, 0.4)])
def test_histories_agree_with_mpmath(dropout, k, theta):
    process = ErlangProcess(k, dropout)
    histories = [(0, 0, 1 / 168), (0, 0, 39), (1, 0.1, 39), (7, 30, 39), (26, 30.857, 31)]
    histories += [(3650, 521.3, 521.43), (3650, 520.0, 521.43)]
    past = np.array(histories, dtype=float).T
    with mp.workdps(40):
        expected = np.array([reference_history(k, dropout, theta, *h) for h in histories])
    found = process.log_likelihood(process.make(theta), *past)
    assert found == pytest.approx(expected[:, 0], rel=1e-12)
    found = process.probability_alive(process.make(theta), *past)
    assert found == pytest.approx(expected[:, 1], rel=1e-10)


def reference_pmf(k, params, t, n):
    """P(n due) P(survives n), or at least n due and the n-th is the last."""
    R, alpha, a, b, silence = map(mp.mpf, params)
    u = t / (alpha + t)
    due = later = mp.mpf(0)
    for j, stage in enumerate(stage_probabilities(k, R, silence)):
        shape = R + j
        for m in range(max(n * k - j, 0), n * k - j + k):
            count = mp.gammaprod([shape + m], [shape, m + 1])
            due += stage * count * u**m * (1 - u) ** shape
        if n and stage:
            later += stage * mp.betainc(n * k - j, shape, 0, u, regularized=True)
    survives = mp.gammaprod([b + n, a + b], [b, a + b + n])
    stops = mp.gammaprod([b + n - 1, a + b], [b, a + b + n]) * a if n else 0
    return float(due * survives + later * stops)


@pytest.mark.parametrize("case", PURCHASES)
@pytest.mark.parametrize("t", [1 / 168, 52.0, 521.0])
def test_distribution_agrees_with_mpmath(case, t):
    k, params, _ = PURCHASES[case]
    counts = [0, 1, 5, 40]
    with mp.workdps(40):
        expected = [reference_pmf(k, params, mp.mpf(t), n) for n in counts]
    found = ErlangProcess(k).pmf(Params(*map(np.atleast_1d, params)), np.array([t]), 40)[0]
    assert found[counts] == pytest.approx(expected, rel=1e-11, abs=1e-290)


# -- the future ----------------------------------------------------------------------------------


def grow(k, n, seed, theta=(1.2, 3.0, 0.8, 2.5), dropout="modified", longest=52.0, ahead=0.0):
    """Simulate histories gap by gap, and what follows in the next ``ahead``."""
    rng = np.random.default_rng(seed)
    r, alpha, a, b = theta
    rate, p = rng.gamma(r, size=n) / alpha, rng.beta(a, b, size=n)
    T = rng.uniform(0.5 * longest, longest, size=n) if not ahead else np.full(n, longest)
    x, last, logs, clock, future = np.zeros((5, n))
    active = (rng.random(n) > p) if dropout == "modified" else np.ones(n, dtype=bool)
    going = np.flatnonzero(active)
    while len(going):
        gaps = rng.gamma(k, size=len(going)) / rate[going]
        clock[going] += gaps
        due = clock[going] <= T[going]
        now, later = going[due], going[~due]
        x[now] += 1
        last[now] = clock[now]
        logs[now] += np.log(gaps[due])
        later = later[clock[later] <= T[later] + ahead]
        future[later] += 1
        going = np.concatenate([now, later])
        leaves = rng.random(len(going)) < p[going]
        active[going[leaves & (clock[going] <= T[going])]] = False
        going = going[~leaves]
    frame = {"customer_id": np.arange(n), "frequency": x, "recency": last, "T": T}
    frame = pd.DataFrame({**frame, "sum_log_gaps": logs})
    return Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week"), future, active


@both_dropouts
@pytest.mark.parametrize("n", [120_000, pytest.param(400_000, marks=pytest.mark.torture)])
def test_predictions_equal_a_world_simulated_gap_by_gap(dropout, n):
    theta, k = (2.0, 6.0, 0.9, 1.6), 3
    snapshot, future, active = grow(k, n, 5, theta, dropout, longest=20.0, ahead=15.0)
    process = ErlangProcess(k, dropout)
    x, t_x = (snapshot.frame[name].to_numpy() for name in ("frequency", "recency"))
    for some in (x == 0, (x == 1) & (t_x > 15), (x == 1) & (t_x < 8), x == 2, x >= 4):
        past = x[some], t_x[some], np.full(some.sum(), 20.0)
        alive = process.probability_alive(process.make(theta), *past)
        error = 4 * np.sqrt(0.25 / some.sum())
        assert active[some].mean() == pytest.approx(alive.mean(), abs=error)
        after = process.if_alive(process.make(theta), *past)
        expected = alive * process.expected_purchases(after, np.full(some.sum(), 15.0))
        error = 4 * future[some].std() / np.sqrt(some.sum())
        assert future[some].mean() == pytest.approx(expected.mean(), abs=error)
        nothing = 1 - alive + alive * process.pmf(after, np.full(some.sum(), 15.0), 0)[:, 0]
        error = 4 * np.sqrt(0.25 / some.sum())
        assert (future[some] == 0).mean() == pytest.approx(nothing.mean(), abs=error)


def test_longer_silence_of_an_active_regular_buyer_brings_the_next_purchase_nearer():
    process = ErlangProcess(4, "plain")
    t_x = np.array([12.0, 11.0, 10.0])
    past = np.full(3, 12.0), t_x, np.full(3, 12.0)
    future = process.if_alive(Params(50.0, 12.5, 0.5, 5.0), *past)
    soon = process.expected_purchases(future, np.full(3, 0.3))
    assert soon[0] < soon[1] < soon[2]


def test_discounted_purchases_meet_their_limits():
    process = ErlangProcess(3)
    future = process.if_alive(process.make((0.6, 6.0, 1.9, 1.6)), X[:3], T_X[:3], T[:3])
    t = np.array([26.0, 52, 104])
    whole = process.expected_purchases(future, t)
    assert process.discounted_purchases(future, t, 0.0) == pytest.approx(whole, rel=1e-14)
    assert process.discounted_purchases(future, t, 1e-14) == pytest.approx(whole, rel=1e-11)
    assert (process.discounted_purchases(future, 0.0 * t, 0.05) == 0.0).all()
    ever = process.discounted_purchases(future, np.full(3, np.inf), 0.05)
    for long in (700.0, 1600.0, 1800.0):  # 83 / 0.05 and more count as for ever
        assert process.discounted_purchases(future, np.full(3, long), 0.05) == pytest.approx(
            ever, rel=1e-11
        )
    mean = (1.9 + future.b - 1) / (1.9 - 1)  # of 1/p: purchases until dropout
    assert process.discounted_purchases(future, np.full(3, np.inf), 0.0) == pytest.approx(mean)


POSITIVE = st.floats(-1, 1.7).map(lambda power: float(10**power))


# -- the estimator -------------------------------------------------------------------------------


@pytest.mark.parametrize("dropout", ["modified", "plain"])
@pytest.mark.parametrize("k", [2, 3])
def test_k_and_parameters_are_recovered_from_simulated_regular_buyers(k, dropout):
    truth = (1.2, 3.0, 0.8, 2.5)
    snapshot, *_ = grow(k, 4000, seed=7, theta=truth, dropout=dropout)
    model = RegularPurchaseModel(dropout=dropout).fit(snapshot)
    assert model.k_ == k
    assert len(model.log_likelihoods_) == k + 1
    assert model.log_likelihood_ == max(model.log_likelihoods_)
    for name, value in zip(("r", "alpha", "a", "b"), truth, strict=True):
        assert abs(model.params_[name] - value) < 3.5 * model.standard_errors_[name]


@pytest.mark.parametrize(
    ("dropout", "plain"), [("modified", ModifiedBetaGeoModel), ("plain", BetaGeoModel)]
)
def test_where_regularity_is_absent_the_model_is_the_plain_one(dropout, plain):
    snapshot, *_ = grow(1, 2000, seed=2, dropout=dropout)
    model = RegularPurchaseModel(dropout=dropout).fit(snapshot)
    reference = plain().fit(snapshot)
    assert model.k_ == 1
    assert model.params_ == reference.params_
    assert model.log_likelihood_ == reference.log_likelihood_
    pd.testing.assert_series_equal(
        model.expected_purchases(snapshot, "26W"),
        reference.expected_purchases(snapshot, "26W"),
        check_exact=True,
    )


def test_cdnow_is_not_regular(cdnow_snapshot):
    model = RegularPurchaseModel().fit(cdnow_snapshot)
    assert model.k_ == 1
    # MBG/NBD of Batislam, Denizel and Filiztekin (2007): .525, 6.183, .891, 1.614.
    assert model.params_["alpha"] == pytest.approx(6.183, abs=6e-4)
    assert model.log_likelihood_ == pytest.approx(-9582.14, abs=0.01)


def test_a_gain_below_its_price_is_not_taken():
    snapshot, *_ = grow(2, 12, seed=1)
    model = RegularPurchaseModel().fit(snapshot)
    best = max(model.log_likelihoods_)
    material = best - model.log_likelihoods_[0] > 0.5 * np.log(12)
    assert (model.k_ > 1) == material


@cache
def regular():
    snapshot, *_ = grow(2, 1500, seed=11)
    return snapshot, RegularPurchaseModel(k=2).fit(snapshot)


def test_log_likelihood_of_given_k_is_that_of_the_choice_whatever_the_unit_of_time():
    snapshot, model = regular()
    chosen = RegularPurchaseModel().fit(snapshot)
    assert chosen.k_ == 2
    assert chosen.log_likelihood_ == model.log_likelihood_
    days = snapshot.frame.assign(
        recency=snapshot.frame["recency"] * 7,
        T=snapshot.frame["T"] * 7,
        sum_log_gaps=snapshot.frame["sum_log_gaps"] + snapshot.frame["frequency"] * np.log(7),
    )
    daily = Snapshot.from_frame(days, cutoff="2020-01-01", time_unit="day")
    again = RegularPurchaseModel(k=2).fit(daily)
    jacobian = snapshot.frame["frequency"].sum() * np.log(7)
    assert again.log_likelihood_ == pytest.approx(model.log_likelihood_ - jacobian, rel=1e-9)
    assert again.params_["alpha"] == pytest.approx(7 * model.params_["alpha"], rel=1e-4)


def test_weights_count_customers_several_times():
    snapshot, _ = regular()
    frame = snapshot.frame.iloc[:400]
    twice = pd.concat([frame, frame.assign(customer_id=frame["customer_id"] + 10_000)])
    weighted = RegularPurchaseModel(k=2).fit(
        Snapshot.from_frame(frame, cutoff="2020-01-01", time_unit="week"),
        sample_weight=np.full(400, 2.0),
    )
    spelled = RegularPurchaseModel(k=2).fit(
        Snapshot.from_frame(twice, cutoff="2020-01-01", time_unit="week")
    )
    assert weighted.log_likelihood_ == pytest.approx(spelled.log_likelihood_, rel=1e-12)
    assert weighted.params_["r"] == pytest.approx(spelled.params_["r"], rel=1e-6)


def test_every_method_of_a_purchase_model_answers_and_survives_storage():
    snapshot, model = regular()
    few = snapshot.subset(np.arange(len(snapshot)) < 40)
    again = from_dict(model.to_dict())
    expected = model.expected_purchases(few, "26W")
    pd.testing.assert_series_equal(again.expected_purchases(few, "26W"), expected)
    whole = model.expected_purchases(snapshot, "26W")
    pd.testing.assert_series_equal(whole[expected.index], expected, rtol=1e-14, atol=0)
    table = model.purchase_distribution(few, "26W", 200)
    assert table.to_numpy() @ np.arange(201) == pytest.approx(expected.to_numpy(), rel=1e-8)
    assert model.probability_no_purchase(few, "26W").to_numpy() == pytest.approx(table[0])
    assert (model.discounted_expected_purchases(few, "26W") < expected + 1e-12).all()
    quantiles = model.purchase_quantiles(few, "26W", [0.1, 0.9])
    assert (quantiles[0.1] <= quantiles[0.9]).all()
    assert model.sample(few, "26W", 4000, seed=3).mean().mean() == pytest.approx(
        expected.mean(), rel=0.03
    )
    assert model.expected_purchases_new_customer("26W") > 0


def test_without_the_gaps_k_stays_1_and_says_so():
    snapshot, _ = regular()
    bare = Snapshot.from_frame(
        snapshot.frame.drop(columns="sum_log_gaps"), cutoff="2020-01-01", time_unit="week"
    )
    with pytest.warns(RegularityWarning, match="k stays 1 and the model is MBG/NBD"):
        assert RegularPurchaseModel().fit(bare).k_ == 1
    with pytest.raises(MissingColumnsError, match="'sum_log_gaps'"):
        RegularPurchaseModel(k=2).fit(bare)


def test_mistakes_are_named():
    snapshot, _ = regular()
    wrong = snapshot.frame.assign(sum_log_gaps=snapshot.frame["sum_log_gaps"] + 50.0)
    with pytest.raises(DataError, match=r"at most frequency \* log\(recency / frequency\)"):
        RegularPurchaseModel().fit(
            Snapshot.from_frame(wrong, cutoff="2020-01-01", time_unit="week")
        )
    with pytest.raises(ParameterError, match="k must be a whole number >= 1"):
        RegularPurchaseModel(k=0).fit(snapshot)
    with pytest.raises(ParameterError, match="'modified' or 'plain'"):
        RegularPurchaseModel(dropout="sometimes").fit(snapshot)
