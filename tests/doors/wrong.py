"""Files that are still misunderstood, each with what comes of it; none should be here."""

WRONG: dict[str, str] = {}
