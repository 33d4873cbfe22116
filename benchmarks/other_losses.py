"""Are the losses of other papers as fast as GCE is?

Value and gradient with respect to the logits, beside Keras's own cross entropy.
"""

from losses import CE, SHAPES, compare, losses, others
from timing import options

if __name__ == "__main__":
    named = {CE: losses()[CE], **others()}
    compare("other losses", lambda num_classes: named, SHAPES, options(__doc__))
