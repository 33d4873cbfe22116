"""What a loss has to know of a row of logits, as fast as the backend can tell it.

The losses depend on the logits by two numbers for each position: the log-probability of
its label and, with smoothing, the Box-Cox cost of all labels together. One function,
`row_terms`, gives both, with a gradient of its own. There is a version for each
backend, and a plain one in `keras.ops`, which says what they compute.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_robust._row_terms._jax import row_terms as row_terms
elif keras.backend.backend() == "tensorflow":
    from keras_robust._row_terms._tensorflow import row_terms as row_terms
elif keras.backend.backend() == "torch":
    from keras_robust._row_terms._torch import row_terms as row_terms
else:
    from keras_robust._row_terms._plain import row_terms as row_terms
