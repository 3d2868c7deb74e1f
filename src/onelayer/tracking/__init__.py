"""Training followed elsewhere: every model of a grid is a run of a tracker."""
