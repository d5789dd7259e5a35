"""Plan, search once per site, measure everything, write the table."""

from hiddenscape.measurement.reading import read_profile
from hiddenscape.measurement.run import measure

__all__ = ["measure", "read_profile"]
