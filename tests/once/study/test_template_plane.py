"""The plane through three templates, against geometry worked by hand."""

import keras
import numpy as np
import pytest
from engine import TemplatePlane

RNG = np.random.default_rng(0)


def test_the_coordinates_of_a_right_angle_are_those_on_paper():
    # Templates (0, 0), (3, 0) and (0, 6) in a plane in four dimensions; their mean
    # is (1, 2). The first axis points from the first to the second.
    kernel = np.zeros((4, 3))
    kernel[1] = 0, 3, 0
    kernel[3] = 0, 0, 6
    kernel[0] = 5
    plane = TemplatePlane(kernel, (0, 1, 2))
    np.testing.assert_allclose(
        plane.templates, [[-1, -2], [2, -2], [-1, 4]], rtol=1e-12
    )
    # What lies beside the plane does not show.
    points = plane.project([[5, 1, 0, 2], [-9, 1, 7, 2], [5, 2, 0, 2]])
    np.testing.assert_allclose(points, [[0, 0], [0, 0], [1, 0]], atol=1e-12)


@pytest.mark.parametrize("with_bias", [False, True])
def test_distances_within_the_plane_are_those_of_space(with_bias):
    kernel, bias = RNG.normal(size=(20, 7)), RNG.normal(size=7)
    chosen = [5, 0, 3]
    plane = TemplatePlane(kernel, chosen, bias=bias if with_bias else None)
    columns = np.vstack([kernel, bias])[: 20 + with_bias, chosen].T
    for i in range(3):
        there = np.linalg.norm(columns - columns[i], axis=1)
        here = np.linalg.norm(plane.templates - plane.templates[i], axis=1)
        np.testing.assert_allclose(here, there, rtol=1e-12)
    np.testing.assert_allclose(plane.basis @ plane.basis.T, np.eye(2), atol=1e-12)
    assert plane.templates[1, 0] > plane.templates[0, 0]
    assert plane.templates[0, 1] == pytest.approx(plane.templates[1, 1])
    assert plane.templates[2, 1] > plane.templates[0, 1]


def test_a_projection_is_the_nearest_point_of_the_plane():
    kernel = RNG.normal(size=(6, 3))
    plane = TemplatePlane(kernel, (0, 1, 2))
    point = RNG.normal(size=(1, 6))
    # Least squares over the affine plane, another way.
    sides = kernel[:, 1:] - kernel[:, :1]
    weights = np.linalg.lstsq(sides, (point - kernel[:, 0])[0], rcond=None)[0]
    nearest = kernel[:, 0] + sides @ weights
    np.testing.assert_allclose(
        plane.origin + plane.project(point)[0] @ plane.basis, nearest, rtol=1e-10
    )


def test_it_takes_what_a_layer_has():
    layer = keras.layers.Dense(4)
    layer.build((None, 8))
    plane = TemplatePlane(layer.kernel, (1, 2, 3), bias=layer.bias)
    activations = keras.ops.convert_to_tensor(RNG.normal(size=(5, 8)).astype("float32"))
    assert plane.project(activations).shape == (5, 2)
    assert plane.project(np.zeros((0, 8))).shape == (0, 2)


@pytest.mark.parametrize(
    ("kernel", "classes", "bias", "message"),
    [
        (np.eye(3)[0], (0, 1, 2), None, r"`kernel` must be of shape \(D, K\)"),
        (np.eye(3), (0, 1), None, "three different class ids"),
        (np.eye(3), (0, 1, 1), None, "three different class ids"),
        (np.eye(3), (0, 1, 3), None, "three different class ids"),
        (np.eye(3), (0, 1, 2), [1.0], r"`bias` must be of shape \(3,\)"),
        (np.ones((4, 3)), (0, 1, 2), None, "on one line"),
        (np.array([[0.0, 1.0, 3.0]]), (0, 1, 2), None, "on one line"),
        (np.outer(np.ones(4), [1, 2, 4]), (0, 1, 2), None, "on one line"),
        (np.eye(3)[:, [0, 0, 2]], (0, 1, 2), None, "on one line"),
    ],
)
def test_bad_arguments_are_named(kernel, classes, bias, message):
    with pytest.raises(ValueError, match=f"TemplatePlane: .*{message}"):
        TemplatePlane(kernel, classes, bias=bias)


def test_activations_of_another_width_are_refused():
    plane = TemplatePlane(np.eye(3), (0, 1, 2))
    with pytest.raises(ValueError, match=r"`activations` must be of shape \(N, 3\)"):
        plane.project(np.zeros((5, 4)))
