"""Loyalty: by how much the levels of evidence differ, where a simulation knows the truth.

A panel of which customers give the house a share of their orders that differs from one to the next:
with rivals' sales seen, with surveys (true in 90 % of the cases) beside own sales, and with own
sales alone.
"""

from __future__ import annotations

import pandas as pd

from crmml.testing.loyalty import compare_evidence, with_defectors
from crmml.testing.simulate import Purchases, Spend, simulate_world


def main() -> None:
    """Print one table for each mean share of the house, and where customers leave."""
    for share, leave in ((0.3, False), (0.5, False), (0.7, False), (0.5, True), (0.7, True)):
        tables = []
        for seed in (1, 2, 3):
            world = simulate_world(
                2_000,
                seed=seed,
                purchases=Purchases(r=2.0, alpha=3.0, a=0.3, b=6.0),
                spend=Spend(house_share=share),
                tables=("interactions",),
            )
            tables.append(compare_evidence(with_defectors(world) if leave else world))
        mean = sum(tables[1:], tables[0]) / len(tables)
        left = ", 40 % of the customers leave" if leave else ""
        print(f"\nmean share of the house {share:.0%}{left}: mean of {len(tables)} worlds")
        with pd.option_context("display.width", 120, "display.max_columns", 20):
            print(mean.round(3))


if __name__ == "__main__":
    main()
