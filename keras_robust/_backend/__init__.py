"""What every backend computes in a way of its own, chosen once.

`row_terms` is what a loss has to know of a row of logits, `row_costs` what it makes of
that; `top_label` which class is predicted and whether it is right, `sums_at` what falls
into bins; `cost_of_rows` the total cost of logits of which only a chunk exists at a
time, `sum_over_replicas` a number added up over the replicas of a strategy, `concrete`
the numbers of a tensor that has some, `is_on_cpu` where it lies; `in_one` compiles a
function for whoever calls it outside of a step. `plain` says what each returns and has
a version in `keras.ops`; a backend overrides it where that one is slow, or cannot be
right. Private interfaces of the backends and of Keras stand in this folder and nowhere
else.
"""

from typing import Any

import keras

from keras_robust._backend import plain
from keras_robust._backend.keras_private import constants_of as constants_of
from keras_robust._backend.keras_private import is_activated as is_activated
from keras_robust._backend.keras_private import keras_mask as keras_mask
from keras_robust._backend.keras_private import metrics_of as metrics_of
from keras_robust._backend.keras_private import set_compiled_loss as set_compiled_loss

if keras.backend.backend() == "jax":
    from keras_robust._backend import jax as _own
elif keras.backend.backend() == "tensorflow":
    from keras_robust._backend import tensorflow as _own
elif keras.backend.backend() == "torch":
    from keras_robust._backend import torch as _own
else:
    _own = plain


def _version_of(name: str) -> Any:
    return getattr(_own, name, getattr(plain, name))


concrete = _version_of("concrete")
cost_of_rows = _version_of("cost_of_rows")
in_one = _version_of("in_one")
is_on_cpu = _version_of("is_on_cpu")
row_costs = _version_of("row_costs")
row_terms = _version_of("row_terms")
sum_over_replicas = _version_of("sum_over_replicas")
sums_at = _version_of("sums_at")
top_label = _version_of("top_label")
