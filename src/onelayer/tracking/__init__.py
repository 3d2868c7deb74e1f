"""Trackers of a training: every model of a grid is a run of a tracker."""
