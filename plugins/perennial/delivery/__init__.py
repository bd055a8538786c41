"""Lists leave the house here: the delta against what was delivered, one protocol of destinations, nothing twice."""
