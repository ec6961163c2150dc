"""Value: what a purchase is worth, and what a customer is worth over a horizon."""
