"""Where which formula for powers of probabilities is exact."""

# Below this, GCE and cross entropy agree to the last digit of float64 for losses up to
# 1e4 (they differ by a factor 1 + q * log(p) / 2), and q * log(p) might underflow.
NEGLIGIBLE_Q = 1e-20

# From here on, K - sum(p^q) loses no more than a digit to cancellation.
SAFE_Q = 0.1
