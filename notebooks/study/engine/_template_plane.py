"""The plane through the templates of three classes, and activations seen in it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_robust._inputs import checks
from keras_robust._inputs.arrays import numeric


class TemplatePlane:
    """The plane that three classes' templates span, to look at activations in.

    Use it to see what label smoothing does: it pulls the penultimate activations of a
    class to points at equal distances from the templates of all other classes. The
    template of a class is its column in the kernel of the last layer; a model gives a
    class the more probability the nearer an activation is to its template. The plane
    says nothing about other classes, nor about what lies beside it.

    It is the affine plane through the templates w_a, w_b and w_c. Coordinates are
    distances along two orthonormal vectors (Gram-Schmidt) from the templates' mean: the
    first points from w_a to w_b, the second to the side of w_c.

    Args:
        kernel: Kernel of the last dense layer, an array of shape `(D, K)`.
        classes: Three different class ids in [0, K).
        bias: Biases of that layer, of shape `(K,)`; they become one more dimension, in
            which each activation has a 1. None leaves them out. Defaults to None.

    Raises:
        ValueError: If shapes do not fit, classes are not three different ones, or
            their templates lie on one line.

    Examples:
        >>> import numpy as np
        >>> from engine import TemplatePlane
        >>> plane = TemplatePlane(np.eye(3), classes=(0, 1, 2))
        >>> (plane.templates.round(3) + 0.0).tolist()
        [[-0.707, -0.408], [0.707, -0.408], [0.0, 0.816]]
        >>> np.allclose(plane.project(np.eye(3)), plane.templates)
        True

    Reference:
        - Müller, Kornblith and Hinton, "When Does Label Smoothing Help?" (2019),
          section 2.
    """

    def __init__(
        self, kernel: Any, classes: Sequence[int], *, bias: Any = None
    ) -> None:
        owner = type(self).__name__
        kernel = numeric(owner, "kernel", kernel).astype("float64")
        if kernel.ndim != 2:
            raise checks.invalid(
                owner,
                "kernel",
                "of shape (D, K)",
                f"kernel.shape={kernel.shape}",
                "Pass `model.layers[-1].kernel`.",
            )
        if bias is not None:
            bias = numeric(owner, "bias", bias).astype("float64")
            if bias.shape != kernel.shape[1:]:
                raise checks.invalid(
                    owner,
                    "bias",
                    f"of shape {kernel.shape[1:]}",
                    f"bias.shape={bias.shape}",
                    "Pass that of the layer that has the kernel.",
                )
            kernel = np.vstack([kernel, bias])
        self._has_bias = bias is not None
        self.classes = _three(owner, classes, kernel.shape[1])
        corners = kernel[:, list(self.classes)].T
        self.origin = corners.mean(axis=0)
        self.basis = _basis(owner, corners)
        self.templates = (corners - self.origin) @ self.basis.T

    def project(self, activations: Any) -> np.ndarray:
        """Returns the coordinates of activations in the plane.

        Args:
            activations: Inputs of the last layer, an array of shape `(N, D)`.

        Returns:
            A float64 array of shape `(N, 2)`.

        Raises:
            ValueError: If the shape does not fit the kernel.
        """
        owner = type(self).__name__
        points = numeric(owner, "activations", activations).astype("float64")
        width = len(self.origin) - self._has_bias
        if points.ndim != 2 or points.shape[1] != width:
            raise checks.invalid(
                owner,
                "activations",
                f"of shape (N, {width})",
                f"activations.shape={points.shape}",
                "Pass what goes into the layer that the kernel is of.",
            )
        if self._has_bias:
            points = np.column_stack([points, np.ones(len(points))])
        return (points - self.origin) @ self.basis.T


def _three(owner: str, classes: Sequence[int], num_classes: int) -> tuple[int, ...]:
    chosen = tuple(int(k) for k in classes)
    inside = all(0 <= k < num_classes for k in chosen)
    if len(chosen) != 3 or len(set(chosen)) != 3 or not inside:
        raise checks.invalid(
            owner,
            "classes",
            f"three different class ids in [0, {num_classes})",
            f"classes={classes!r}",
            "Three templates span a plane: (0, 1, 2), say.",
        )
    return chosen


def _basis(owner: str, corners: np.ndarray) -> np.ndarray:
    sides = corners[1:] - corners[0]
    across, triangle = np.linalg.qr(sides.T)
    lengths = np.diag(triangle)
    least = 1e-9 * np.linalg.norm(sides, axis=1).max()
    if len(lengths) < 2 or not np.abs(lengths).min() > least:
        raise checks.invalid(
            owner,
            "kernel",
            "one whose three templates do not lie on one line",
            "columns {!r}, {!r}, {!r}".format(*corners),
            "Has the layer been trained?",
        )
    # `qr` may turn a direction round; a template has a positive part along its own.
    return (across * np.sign(lengths)).T
