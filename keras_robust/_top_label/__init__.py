"""Which class is predicted, how surely, and whether it is the label: fast.

One function, `top_label`, in a version for each backend, and a plain one in
`keras.ops`, which says what they compute. Those of the backends read the probabilities
once or twice and make nothing of their size: an `argmax` alone may take longer.
"""

import keras

if keras.backend.backend() == "jax":
    from keras_robust._top_label._jax import top_label as top_label
elif keras.backend.backend() == "tensorflow":
    from keras_robust._top_label._tensorflow import top_label as top_label
elif keras.backend.backend() == "torch":
    from keras_robust._top_label._torch import top_label as top_label
else:
    from keras_robust._top_label._plain import top_label as top_label
