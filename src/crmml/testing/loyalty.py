"""How near each level of evidence comes to the loyalty that a simulated panel knows to be true."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from crmml.data.tables import open_tables
from crmml.features.wallet import Wallet, build_wallet, find_signals
from crmml.features.windows import shifted
from crmml.testing.contacts import state_competitors
from crmml.testing.simulate import World

LEVELS: tuple[str, ...] = ("panel", "stated", "inferred")


def compare_evidence(world: World, *, length: str = "52W") -> pd.DataFrame:
    """Measure the wallets of a panel with all it knows, with surveys, and with own sales alone.

    What is true is ``house_share``: from 2/3 on ``loyal``, from 1/3 on ``split``, below it the
    customer is with a competitor. Customers count who have a class at every level.

    Parameters
    ----------
    world : World
        With ``house_share`` in its truth.
    length : str, default "52W"
        Of the window, which ends with the world.

    Returns
    -------
    DataFrame
        By level: ``customers``; ``accuracy`` of the three classes, and ``always`` that of saying
        the most common one; ``share_error``, the mean absolute error of the share; and of those
        below 1/3 ``found`` (share of them called ``competitor``), ``right`` (share of those called
        so who are; missing where nobody is) and ``auc`` of ranking by the share, those called
        ``competitor`` last.

    Notes
    -----
    Mean of three worlds of 2,000 customers with a mean share of 1/2; ``benchmarks/loyalty.py``
    prints more. Where shares stand still, own sales know nothing of them: who buys half of it
    elsewhere looks like somebody who needs half as much. Where 40 % go over to a competitor when
    the window opens, own sales show who bought more before.

    ==========  ========  ===========  ====  ================  ===========  ====  =====  =====
    shares      constant  .            .     40 % go           .            .     .      .
    evidence    accuracy  share error  AUC   accuracy          share error  AUC   found  right
    ==========  ========  ===========  ====  ================  ===========  ====  =====  =====
    panel       .80       .08          .94   .86               .06          .97   .71    .95
    stated      .35       .42          .67   .52               .35          .83   .37    .91
    inferred    .28       .42          .52   .43               .35          .77   0      .
    always      .49       .            .     .53               .            .     .      .
    ==========  ========  ===========  ====  ================  ===========  ====  =====  =====
    """
    log = world.transactions
    own = log[log["seller"] == "house"].drop(columns="seller")
    tables = open_tables({"transactions": own, "interactions": world.interactions})
    said = find_signals(tables, world.end, length)
    wallets = {
        "panel": build_wallet(log, world.end, length=length, own_seller="house"),
        "stated": build_wallet(own, world.end, length=length, signals=said),
        "inferred": build_wallet(own, world.end, length=length),
    }
    ids = world.truth.index
    for wallet in wallets.values():
        classes = wallet.frame["loyalty_class"]
        ids = ids.intersection(classes.index[~classes.isin(["insufficient", "lapsed"])])
    truth = world.truth["house_share"].loc[ids]
    return pd.DataFrame({name: _judge(wallets[name], truth) for name in LEVELS}).T


def with_defectors(
    world: World, *, length: str = "52W", part: float = 0.4, kept: float = 0.15, seed: int = 0
) -> World:
    """Let some customers of a panel go over to a competitor when the last window opens.

    Parameters
    ----------
    world : World
        With ``house_share`` in its truth; there it becomes the share in the last window.
    length : str, default "52W"
        Of that window.
    part : float
        Share of the customers who go, at random.
    kept : float
        Probability that one of their orders still goes to the house.
    seed : int
        Of who goes, with what, and of what surveys in the window say.
    """
    rng = np.random.default_rng(seed)
    opens, log = shifted(world.end, length, -1), world.transactions
    goes = pd.Series(rng.random(len(world.truth)) < part, world.truth.index)
    orders = log["order_id"].unique()
    moved = pd.Series(rng.random(len(orders)) >= kept, orders)
    gone = goes.reindex(log["customer_id"]).to_numpy() & moved.reindex(log["order_id"]).to_numpy()
    late = ((log["timestamp"] >= opens) & (log["seller"] == "house")).to_numpy()
    share = world.truth["house_share"]
    truth = world.truth.assign(house_share=share.where(~goes, share * kept))
    touches = world.interactions
    told = state_competitors(rng, touches, truth["house_share"])
    within = touches["timestamp"] >= opens
    return replace(
        world,
        transactions=log.assign(seller=log["seller"].mask(gone & late, "competitor_1")),
        interactions=touches.assign(
            with_competitor=touches["with_competitor"].mask(within, told["with_competitor"])
        ),
        truth=truth,
    )


def _judge(wallet: Wallet, truth: pd.Series[float]) -> dict[str, float]:
    frame = wallet.frame.loc[truth.index]
    names = np.array(["elsewhere", "split", "loyal"])
    true = names[np.digitize(truth, [1 / 3, 2 / 3])]
    said = frame["loyalty_class"].replace({"competitor": "elsewhere", "disloyal": "elsewhere"})
    lost = true == "elsewhere"
    called = (frame["loyalty_class"] == "competitor").to_numpy()
    rank = (1 - frame["share"]).where(~called, 2.0).rank().to_numpy()
    n = int(lost.sum())
    auc = (rank[lost].sum() - n * (n + 1) / 2) / (n * (len(lost) - n))
    return {
        "customers": float(len(frame)),
        "accuracy": float(np.mean(said.to_numpy() == true)),
        "always": float(pd.Series(true).value_counts(normalize=True).max()),
        "share_error": float(np.abs(frame["share"] - truth).mean()),
        "found": float(called[lost].mean()),
        "right": float(lost[called].mean()) if called.any() else np.nan,
        "auc": float(auc),
    }
