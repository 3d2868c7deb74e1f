"""The exact solver: parameters of least cost, for many models at once, with a proof.

For λ > 0 and a smooth loss the cost (5) has one minimum. L-BFGS searches it in the principal axes
of the features, where the second derivatives are nearly diagonal, with products in float32. The
result is checked, and if needed improved, in float64 on the features themselves. The derivation is
in docs/exact.md.
"""
