"""Labelled data sets: class folders, IDX files, built-in sets, splits, the data check, a store keyed by content."""
