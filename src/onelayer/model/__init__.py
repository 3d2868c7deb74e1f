"""The mathematics of one network, in float64: the textbook page."""
