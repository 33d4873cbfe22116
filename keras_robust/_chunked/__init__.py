"""The cost of logits that are never all there: a chunk of rows at a time.

One function, `cost_of_rows`, multiplies some rows of hidden states with a kernel, has
the cost of these logits and its gradient worked out, adds both up, and forgets the
logits. There is a version for each backend, and a plain one in `keras.ops`, which says
what they compute.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_robust._chunked._jax import cost_of_rows as cost_of_rows
elif keras.backend.backend() == "tensorflow":
    from keras_robust._chunked._tensorflow import cost_of_rows as cost_of_rows
elif keras.backend.backend() == "torch":
    from keras_robust._chunked._torch import cost_of_rows as cost_of_rows
else:
    from keras_robust._chunked._plain import cost_of_rows as cost_of_rows
