"""Objectives on features: one file each, equation and citation on top.

An estimator of one's own is a subclass of `idfer.objectives.penalty_term:PenaltyTerm`, built as
`Estimator(attributes, dim_x, dim_y)` and given as `module:Class`.
"""
