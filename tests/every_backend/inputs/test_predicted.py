"""A model's predictions on labelled data, in every form in which data come."""

import itertools
import sys

import keras
import matplotlib.pyplot as plt
import numpy as np
import pytest
import scipy

from keras_robust._inputs import batches as batches_module
from keras_robust._inputs.predicted import predicted
from keras_robust.calibration import ReliabilityDisplay, bin_predictions
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
    """Labels, logits and weights of each batch."""
    how = {"from_logits": True, "ignore_class": None, **how}
    parts = predicted("Tester", model, data, argument="data", **how)
    return [(part.label, part.logits, part.weight) for part in parts]


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


def tf_data_of_unknown_rank():
    tf = pytest.importorskip("tensorflow")
    dtypes = (X.dtype, Y.dtype, WEIGHT.dtype)
    unknown = tuple(tf.TensorSpec(None, dtype) for dtype in dtypes)
    return tf.data.Dataset.from_generator(a_list, output_signature=unknown)


def data_loader():
    torch = pytest.importorskip("torch")
    columns = map(torch.tensor, (X, Y, WEIGHT))
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(*columns), batch_size=8
    )


def jax_arrays():
    jnp = pytest.importorskip("jax.numpy")
    return [tuple(map(jnp.asarray, batch)) for batch in a_list()]


FORMS = [a_list, a_generator, Indexed, tf_data, tf_data_of_unknown_rank]
FORMS += [data_loader, jax_arrays]


@pytest.mark.parametrize("form", FORMS)
def test_datasets_of_every_library_are_read_batch_by_batch(model, form):
    expected = keras.ops.convert_to_numpy(model(X))
    found = read(model, form())
    assert len(found) == len(CUTS)
    for cut, (labels, scores, weight) in zip(CUTS, found):
        assert type(labels) is type(scores) is np.ndarray
        np.testing.assert_array_equal(labels, Y[cut])
        np.testing.assert_allclose(scores, expected[cut], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(weight, WEIGHT[cut])


@pytest.mark.parametrize("form", [tuple, jax_arrays, data_loader])
def test_arrays_are_one_batch(model, form):
    data = (X, Y, WEIGHT)
    if form is not tuple:  # that library's arrays
        (data,) = [tuple(b) for b in itertools.islice(form(), 1)]
    ((labels, scores, weight),) = read(model, data, batch_size=7)
    np.testing.assert_array_equal(labels, Y[: len(labels)])
    expected = keras.ops.convert_to_numpy(model(X[: len(labels)]))
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(weight, WEIGHT[: len(labels)])
    assert (read(model, data[:2])[0][2] == 1).all()


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
    np.testing.assert_array_equal(scores, X)
    np.testing.assert_array_equal(labels, Y)
    np.testing.assert_array_equal(soft, np.eye(3)[Y])
    shown = ReliabilityDisplay.from_model(model, x, y, axis=1, from_logits=True)
    plt.close(shown.figure_)
    right = np.nansum(shown.bins.accuracy * shown.bins.count)
    assert right == pytest.approx((X.argmax(-1) == Y).sum())


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


class RepeatedByGrain(list):
    def __len__(self):
        return sys.maxsize


SAY_THAT_THEY_DO_NOT_END = [Endless, OfUnknownLength, endless_tf_data, RepeatedByGrain]


@pytest.mark.parametrize("form", SAY_THAT_THEY_DO_NOT_END)
def test_data_that_say_they_do_not_end_need_steps(model, form):
    message = "`steps` must be given for a dataset that does not end"
    with pytest.raises(ValueError, match=f"Tester: {message}"):
        read(model, form())
    # Known before training, so said before it.
    with pytest.raises(ValueError, match=message):
        ReliabilityHistory(validation_data=form())
    with pytest.raises(ValueError, match=message):
        NoiseAwareGamma(form())


def endless_filtered_tf_data():
    return tf_data().repeat().filter(lambda *batch: True)


def endless_data_loader():
    torch = pytest.importorskip("torch")

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return itertools.cycle(zip(X, Y))

    return torch.utils.data.DataLoader(Stream(), batch_size=8)


@pytest.mark.parametrize(
    "form", [endless_generator, endless_filtered_tf_data, endless_data_loader]
)
def test_data_that_do_not_tell_their_length_are_not_read_for_ever(
    model, form, monkeypatch
):
    monkeypatch.setattr(batches_module, "_MOST_BATCHES", 5)
    with pytest.raises(ValueError, match=r"`steps` must be given.* 5 batches without"):
        read(model, form())
    assert len(read(model, form(), steps=7)) == 7
    assert len(read(model, 3 * a_list())) == 9  # a list has an end


def test_callbacks_refuse_what_can_be_read_only_once():
    for make in (
        lambda: ReliabilityHistory(validation_data=a_generator()),
        lambda: NoiseAwareGamma(a_generator()),
    ):
        with pytest.raises(
            ValueError, match="a dataset that can be read in each epoch"
        ):
            make()
    NoiseAwareGamma(a_generator(), re_estimate=False)  # reads it once
    ReliabilityHistory(validation_data=endless_generator(), steps=3)


def test_steps_read_no_batch_too_many(model):
    data = iter(a_list())
    assert len(read(model, data, steps=2)) == 2
    assert len(read(model, data, steps=2)) == 1
    with pytest.raises(ValueError, match=r"`data` must be a dataset of batches.*used"):
        read(model, data, steps=2)
    with pytest.raises(ValueError, match="`steps` must be None for arrays"):
        read(model, (X, Y), steps=2)
    with pytest.raises(ValueError, match="a Endless that does not end"):
        read(model, (Endless(), Y))


@pytest.mark.parametrize("data", [X, (X,), [(X,)], [X], Indexed, 3, {"x": X}])
def test_data_without_labels_raise(model, data):
    if data is Indexed:
        data = (batch[:1] for batch in Indexed())
    with pytest.raises(ValueError, match="Tester: `data` must be given with labels"):
        read(model, data)


@pytest.fixture(scope="module")
def parts():
    inputs = keras.Input((3,))
    return inputs, [
        keras.layers.Dense(3, name=name)(inputs) for name in ("kind", "box")
    ]


def test_one_of_several_outputs_is_chosen_with_its_labels_and_weights(parts):
    inputs, layers = parts
    by_name = dict(zip(("kind", "box"), layers))
    other = (Y + 1) % 3
    for outputs in (layers, by_name):
        several = keras.Model(inputs, outputs)
        predictions = several.predict(X, verbose=0)
        if outputs is layers:
            predictions = dict(zip(("kind", "box"), predictions))
        of_all = {"kind": Y, "box": other}, {"kind": WEIGHT, "box": 2 * WEIGHT}
        for data in (
            (X, *of_all),
            [(X, *of_all)],
            (X, other, 2 * WEIGHT),
            [(X, other, 2 * WEIGHT)],
        ):
            ((labels, scores, weight),) = read(several, data, output="box")
            np.testing.assert_array_equal(labels, other)
            np.testing.assert_allclose(scores, predictions["box"], rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(weight, 2 * WEIGHT)
    in_order = (X, [Y, other], [WEIGHT, 2 * WEIGHT])
    for output in ("box", 1):
        ((labels, _, weight),) = read(keras.Model(*parts), in_order, output=output)
        np.testing.assert_array_equal(labels, other)
        np.testing.assert_array_equal(weight, 2 * WEIGHT)


def test_the_history_is_of_one_output_and_its_axis():
    inputs = keras.Input((4, 3))
    turned = keras.layers.Permute((2, 1), name="turned")(inputs)
    several = keras.Model(inputs, [keras.layers.Flatten()(inputs), turned])
    data = X.reshape(5, 4, 3), Y.reshape(5, 4)
    how = {"output": "turned", "axis": 1, "from_logits": True}
    history = ReliabilityHistory(validation_data=data, **how)
    history.set_model(several)
    history.on_epoch_end(0)
    expected = bin_predictions(Y, X, from_logits=True)
    np.testing.assert_array_equal(history.tables[0].count, expected.count)
    np.testing.assert_allclose(history.tables[0].ece(), expected.ece(), rtol=1e-6)


def test_a_model_with_several_outputs_is_told_to_have_them(parts):
    inputs, layers = parts
    for outputs in (layers, dict(zip(("kind", "box"), layers))):
        several = keras.Model(inputs, outputs)
        for data in ((X, Y), a_list()):
            with pytest.raises(ValueError, match=r"`output` .*outputs (kind|box), "):
                read(several, data)
        with pytest.raises(ValueError, match=r"`output` must be one of (kind|box), "):
            read(several, (X, Y), output="height")
        with pytest.raises(ValueError, match="`y` must be a dict with an entry 'box'"):
            read(several, (X, {"kind": Y}), output="box")
        with pytest.raises(ValueError, match=r"`output` .*outputs (kind|box), "):
            ReliabilityDisplay.from_model(several, X, Y)
        history = ReliabilityHistory(validation_data=(X, Y))
        history.set_model(several)
        with pytest.raises(ValueError, match=r"`output` .*outputs (kind|box), "):
            history.on_train_begin()  # before an epoch is lost
    one = keras.Model(inputs, {"kind": layers[0]})
    assert read(one, (X, Y))[0][1].shape == (20, 3)
    assert read(one, (X, {"kind": Y}))[0][1].shape == (20, 3)


def test_bad_data_in_the_middle_are_found_in_their_batch(model):
    bad = a_list()
    bad[1] = (X[8:16], np.r_[Y[8:13], 7, Y[14:16]], WEIGHT[8:16])
    with pytest.raises(ValueError, match=r"the first 7 in row 5, in batch 1\."):
        read(model, bad)
    bad[1] = (np.full((8, 3), np.nan, "float32"), Y[8:16], WEIGHT[8:16])
    with pytest.raises(ValueError, match=r"free of NaN.*in batch 1\."):
        read(model, bad)
    bad[1] = (X[8:16], Y[8:15], WEIGHT[8:16])
    with pytest.raises(ValueError, match=r"y\.shape=\(7,\).*in batch 1\."):
        read(model, bad)
    bad[1] = (X[8:16], Y[8:16], WEIGHT[8:16], None)
    with pytest.raises(ValueError, match=r"`data` must be .*Received: 4 parts"):
        read(model, bad)


def test_samples_that_are_not_batched_are_said_to_be_so(model):
    with pytest.raises(ValueError, match=r"a dataset of batches.*\.batch\(32\)"):
        read(model, list(zip(X, Y)))
    if keras.backend.backend() == "tensorflow":
        tf = pytest.importorskip("tensorflow")
        with pytest.raises(ValueError, match="a single sample"):
            read(model, tf.data.Dataset.from_tensor_slices((X, Y)))


def test_ragged_labels_are_told_to_be_padded(model):
    tf = pytest.importorskip("tensorflow")
    labels = tf.ragged.constant([[0, 1], [2]])
    with pytest.raises(TypeError, match=r"`y` must be padded.*in batch 0.*to_tensor"):
        read(model, [(X[:2], labels)])


def test_sparse_inputs_are_those_of_dense_ones(model):
    tf = pytest.importorskip("tensorflow")
    sparse = scipy.sparse.csr_matrix(np.maximum(X, 0))
    expected = keras.ops.convert_to_numpy(model(sparse.toarray()))
    for data in (
        [(sparse, Y)],
        [(tf.sparse.from_dense(sparse.toarray()), Y)],
    ):
        np.testing.assert_allclose(
            read(model, data)[0][1], expected, rtol=1e-5, atol=1e-6
        )


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
