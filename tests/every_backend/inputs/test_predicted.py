"""A model's predictions on labelled data, in every form in which data come."""

import itertools

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest

from keras_robust._inputs.predicted import predicted
from keras_robust.calibration import ReliabilityDisplay
from keras_robust.callbacks import NoiseAwareGamma, ReliabilityHistory

RNG = np.random.default_rng(6)
X = RNG.normal(size=(20, 3)).astype("float32")
Y = RNG.integers(0, 3, 20)
WEIGHT = RNG.uniform(size=20).astype("float32")
CUTS = [slice(0, 8), slice(8, 16), slice(16, 20)]


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])


def read(model, data, **how):
    return list(predicted("Tester", model, data, argument="data", **how))


def batches(*columns):
    return [tuple(column[cut] for column in columns) for cut in CUTS]


class Indexed(keras.utils.PyDataset):
    def __len__(self):
        return len(CUTS)

    def __getitem__(self, index):
        return batches(X, Y, WEIGHT)[index]


class Endless(Indexed):
    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return super().__getitem__(index % len(CUTS))


def a_list():
    return batches(X, Y, WEIGHT)


def a_generator():
    return (list(batch) for batch in a_list())


def tf_data():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices((X, Y, WEIGHT)).batch(8)


def data_loader():
    torch = pytest.importorskip("torch")
    columns = map(torch.tensor, (X, Y, WEIGHT))
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*columns), batch_size=8
    )


def jax_arrays():
    jnp = pytest.importorskip("jax.numpy")
    return [tuple(map(jnp.asarray, batch)) for batch in a_list()]


FORMS = [a_list, a_generator, Indexed, tf_data, data_loader, jax_arrays]


@pytest.mark.parametrize("form", FORMS)
def test_datasets_of_every_library_are_read_batch_by_batch(model, form):
    expected = keras.ops.convert_to_numpy(model(X))
    found = read(model, form())
    assert len(found) == len(CUTS)
    for cut, (labels, scores, weight) in zip(CUTS, found):
        assert type(labels) is type(scores) is np.ndarray
        np.testing.assert_array_equal(labels, Y[cut])
        np.testing.assert_allclose(scores, expected[cut], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(np.asarray(weight), WEIGHT[cut])


@pytest.mark.parametrize("form", [tuple, jax_arrays, data_loader])
def test_arrays_are_one_batch(model, form):
    data = (X, Y, WEIGHT)
    if form is not tuple:  # that library's arrays
        (data,) = [tuple(b) for b in itertools.islice(form(), 1)]
    ((labels, scores, weight),) = read(model, data, batch_size=7)
    np.testing.assert_array_equal(labels, Y[: len(labels)])
    expected = keras.ops.convert_to_numpy(model(X[: len(labels)]))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(weight), WEIGHT[: len(labels)])
    assert read(model, data[:2])[0][2] is None


def test_inputs_may_be_named():
    inputs = {name: keras.Input((3,), name=name) for name in "ab"}
    both = keras.Model(inputs, keras.layers.Add()(list(inputs.values())))
    named = {"a": X[:8], "b": 2 * X[:8]}
    for data in ((named, Y[:8]), [(named, Y[:8])]):
        ((_, scores, _),) = read(both, data)
        np.testing.assert_allclose(scores, 3 * X[:8], rtol=1e-6)
    tf = pytest.importorskip("tensorflow")
    tensors = tf.data.Dataset.from_tensors((named, Y[:8]))
    np.testing.assert_allclose(read(both, tensors)[0][1], 3 * X[:8], rtol=1e-6)


def test_classes_are_moved_to_the_last_axis():
    model = keras.Sequential([keras.Input((4, 3)), keras.layers.Permute((2, 1))])
    x, y = X.reshape(5, 4, 3), Y.reshape(5, 4)
    one_hot = np.moveaxis(np.eye(3)[y], -1, 1)
    ((labels, scores, _), (soft, _, _)) = read(model, [(x, y), (x, one_hot)], axis=1)
    np.testing.assert_array_equal(scores, x)
    np.testing.assert_array_equal(labels, y)
    np.testing.assert_array_equal(soft, np.eye(3)[y])


def endless_generator():
    return itertools.cycle(a_list())


def endless_tf_data():
    return tf_data().repeat()


@pytest.mark.parametrize("form", [Endless, endless_generator, endless_tf_data])
def test_steps_end_what_has_no_end(model, form):
    found = read(model, form(), steps=5)
    np.testing.assert_array_equal(
        np.concatenate([labels for labels, _, _ in found]), np.r_[Y, Y[:16]]
    )


class OfUnknownLength(keras.utils.PyDataset):
    def __getitem__(self, index):
        return X, Y


@pytest.mark.parametrize("form", [Endless, OfUnknownLength, endless_tf_data])
def test_data_that_say_they_do_not_end_need_steps(model, form):
    with pytest.raises(ValueError, match="Tester: `steps` must be given for a dataset"):
        read(model, form())


def test_steps_read_no_batch_too_many(model):
    data = iter(a_list())
    assert len(read(model, data, steps=2)) == 2
    assert len(read(model, data, steps=2)) == 1
    with pytest.raises(ValueError, match=r"`data` must be a dataset of batches.*used"):
        read(model, data, steps=2)
    with pytest.raises(ValueError, match="`steps` must be None for arrays"):
        read(model, (X, Y), steps=2)


@pytest.mark.parametrize("data", [X, (X,), [(X,)], [X], Indexed, 3, {"x": X}])
def test_data_without_labels_raise(model, data):
    if data is Indexed:
        data = (batch[:1] for batch in Indexed())
    with pytest.raises(ValueError, match="Tester: `data` must be given with labels"):
        read(model, data)


def test_a_model_with_several_outputs_is_told_to_have_them():
    inputs = keras.Input((3,))
    parts = [keras.layers.Dense(3, name=name)(inputs) for name in ("kind", "box")]
    by_name = {"kind": parts[0], "box": parts[1]}
    for outputs in (parts, by_name):
        several = keras.Model(inputs, outputs)
        for data in ((X, Y), a_list()):
            with pytest.raises(ValueError, match=r"outputs (kind, box|box, kind)"):
                read(several, data)
    one = keras.Model(inputs, {"kind": parts[0]})
    assert read(one, (X, Y))[0][1].shape == (20, 3)


def test_everything_that_predicts_takes_steps():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)])
    display = ReliabilityDisplay.from_model(
        model, endless_generator(), steps=3, from_logits=True
    )
    plt.close(display.figure_)
    assert display.bins.total == pytest.approx(WEIGHT.sum())
    history = ReliabilityHistory(
        validation_data=endless_generator(), steps=3, from_logits=True
    )
    history.set_model(model)
    history.on_epoch_end(0)
    assert history.tables[0].total == pytest.approx(WEIGHT.sum())
    for make in (
        lambda steps: ReliabilityDisplay.from_model(model, Endless(), steps=steps),
        lambda steps: ReliabilityHistory(validation_data=Endless(), steps=steps),
        lambda steps: NoiseAwareGamma(Endless(), steps=steps),
    ):
        with pytest.raises(ValueError, match="`steps` must be at least 1"):
            make(0)
