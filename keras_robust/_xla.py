"""Whether TensorFlow is tracing for XLA."""


def is_tracing() -> bool:
    """Returns whether what TensorFlow traces now is to be compiled by XLA.

    TensorFlow has no public way to know. Should its own become unknown, the answer is
    yes: what XLA compiles runs in a graph too, if less fast.
    """
    import tensorflow as tf

    try:
        from tensorflow.python.ops import control_flow_util
    except ImportError:
        return True
    graph = tf.compat.v1.get_default_graph()
    return bool(control_flow_util.GraphOrParentsInXlaContext(graph))
