"""Words as word pieces, and batches of them."""

import keras
import numpy as np
import pytest
from engine._batches import Batches, OrderOfEpoch, padded_length
from engine._corpus import Sentence
from engine._encoded import Encoded, encode
from engine._encoder import Encoder, load_backbone, load_tokenizer
from tiny import PIECES

RNG = np.random.default_rng(3)
LENGTHS = np.concatenate([RNG.integers(3, 12, 30), RNG.integers(17, 25, 15)])
MANY = Encoded(
    np.arange(LENGTHS.sum(), dtype="int32"),
    LENGTHS,
    {"clean": RNG.integers(0, 9, LENGTHS.sum()).astype("int32")},
)


@pytest.fixture(scope="module")
def tokenizer(preset):
    return load_tokenizer(preset)


def ids(*pieces):
    return [PIECES.index(piece) for piece in pieces]


def test_a_word_has_its_label_on_its_first_piece_only(tokenizer):
    sentences = [
        Sentence(["annabel", "smith", "saw", "rome"], {"clean": [1, 2, 0, 5]}),
        Sentence(["."], {"clean": [0]}),
    ]
    encoded = encode(sentences, tokenizer)
    words = ids("anna", "##bel", "smith", "saw", "rome")
    expected = [*ids("[CLS]"), *words, *ids("[SEP]", "[CLS]", ".", "[SEP]")]
    assert encoded.token_ids.tolist() == expected
    assert encoded.lengths.tolist() == [7, 3]
    labels = [-100, 1, -100, 2, 0, 5, -100, -100, 0, -100]
    assert encoded.labels["clean"].tolist() == labels


def test_each_annotator_has_labels_of_its_own(tokenizer):
    tags = {"clean": [1, 2], "expert": [0, 1]}
    encoded = encode([Sentence(["annabel", "smith"], tags)], tokenizer)
    assert encoded.labels["clean"].tolist() == [-100, 1, -100, 2, -100]
    assert encoded.labels["expert"].tolist() == [-100, 0, -100, 1, -100]


@pytest.mark.parametrize("word", ["\x94", "\u200b", " "])
def test_a_word_that_leaves_no_piece_is_unknown_and_keeps_its_label(tokenizer, word):
    assert not len(tokenizer(word))
    encoded = encode([Sentence(["saw", word], {"clean": [0, 3]})], tokenizer)
    assert encoded.token_ids.tolist() == ids("[CLS]", "saw", "[UNK]", "[SEP]")
    assert encoded.labels["clean"].tolist() == [-100, 0, 3, -100]


def test_a_word_that_no_pieces_make_is_unknown(tokenizer):
    encoded = encode([Sentence(["zzz", "saw"], {"clean": [0, 0]})], tokenizer)
    assert encoded.token_ids.tolist() == ids("[CLS]", "[UNK]", "saw", "[SEP]")


def test_nothing_is_cut_off(tokenizer, preset):
    words = ["annabel"] * 16
    encoded = encode([Sentence(words, {"clean": [1] * 16})], tokenizer)
    assert encoded.lengths.tolist() == [34]
    assert np.sum(encoded.labels["clean"] == 1) == 16
    encoder = Encoder(load_backbone(preset, "float32"), 1)
    with pytest.raises(ValueError, match="34 word pieces, the encoder takes 32"):
        encoder.check_lengths(encoded.lengths)
    encoder.check_lengths(np.array([32]))


def test_an_encoder_without_word_pieces_is_refused(tmp_path):
    import keras_hub

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "a", "b", "ab"]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = keras_hub.models.RobertaTokenizer(vocabulary, ["a b"])
    tokenizer.save_to_preset(str(tmp_path))
    backbone = keras_hub.models.RobertaBackbone(8, 1, 1, 4, 4, max_sequence_length=8)
    backbone.save_to_preset(str(tmp_path))
    with pytest.raises(ValueError, match=r"WordPieces. .* RobertaTokenizer"):
        load_tokenizer(str(tmp_path))


def test_sentences_are_taken_in_the_order_asked_for():
    chosen = np.array([7, 0, 33])
    rows = np.split(MANY.token_ids, np.cumsum(LENGTHS)[:-1])
    expected = np.concatenate([rows[i] for i in chosen])
    taken = MANY.take(chosen)
    np.testing.assert_array_equal(taken.token_ids, expected)
    np.testing.assert_array_equal(MANY.pieces(chosen), expected)
    np.testing.assert_array_equal(taken.lengths, LENGTHS[chosen])
    np.testing.assert_array_equal(taken.labels["clean"], MANY.labels["clean"][expected])
    np.testing.assert_array_equal(taken.offsets, [0, *np.cumsum(taken.lengths)[:-1]])


def batches(batch_size=8, **options):
    def inputs(token_ids, mask, where):
        return {"token_ids": token_ids, "mask": mask, "where": where}

    return Batches(MANY, MANY.labels["clean"], inputs, batch_size=batch_size, **options)


def seen(data):
    return np.concatenate([inputs["token_ids"][inputs["mask"]] for inputs, _ in data])


@pytest.mark.parametrize("seed", [None, 0])
def test_every_piece_is_seen_once_in_an_epoch(seed):
    data = batches(seed=seed)
    for epoch in range(3):
        data.start(epoch)
        np.testing.assert_array_equal(np.sort(seen(data)), MANY.token_ids)


def test_each_piece_has_its_label_and_padding_has_none():
    for inputs, labels in batches(seed=2):
        mask = inputs["mask"]
        expected = MANY.labels["clean"][inputs["token_ids"][mask]]
        np.testing.assert_array_equal(labels[mask], expected)
        assert (labels[~mask] == -100).all()
        assert (inputs["token_ids"][~mask] == 0).all()
        np.testing.assert_array_equal(inputs["where"][mask], inputs["token_ids"][mask])


def test_the_order_depends_on_the_seed_and_the_epoch_only():
    first = seen(batches(seed=1, epoch=0))
    np.testing.assert_array_equal(first, seen(batches(seed=1, epoch=0)))
    later = batches(seed=1)
    later.start(3)
    np.testing.assert_array_equal(seen(later), seen(batches(seed=1, epoch=3)))
    assert (seen(later) != first).any()
    assert (seen(batches(seed=2)) != first).any()


def test_without_a_seed_sentences_are_in_the_order_of_length():
    lengths = np.concatenate([x["mask"].sum(1) for x, _ in batches()])
    np.testing.assert_array_equal(lengths[: len(LENGTHS)], np.sort(LENGTHS))


def test_the_last_batch_is_filled_up_with_empty_rows():
    data = batches()
    shapes = {labels.shape[0] for _, labels in data}
    assert shapes == {8}
    # 45 sentences are 5 batches of 8 and 5 more.
    inputs, labels = data[5]
    assert inputs["mask"][:5].any(axis=1).all()
    assert not inputs["mask"][5:].any()
    assert (labels[5:] == -100).all()


def test_a_batch_is_padded_to_a_length_that_takes_its_longest_sentence():
    for inputs, _ in batches(seed=0):
        longest = inputs["mask"].sum(1).max()
        assert inputs["mask"].shape[1] == padded_length(int(longest)) >= longest


def test_few_lengths_are_compiled():
    lengths = [padded_length(n) for n in range(1, 600)]
    assert all(n <= padded for n, padded in zip(range(1, 600), lengths))
    assert lengths == sorted(lengths)
    if keras.backend.backend() == "torch":
        assert all(padded - n < 4 for n, padded in zip(range(1, 600), lengths))
    else:
        assert len({n for n in lengths if n <= 512}) == 11


class Seen(keras.callbacks.Callback):
    """Records the mean of the labels of each batch, as the loss of a model of 0."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_begin(self, epoch, logs=None):
        self.total = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = float(logs["loss"]) * (batch + 1)
        self.losses.append(total - self.total)
        self.total = total


def test_fit_takes_batches_of_any_length_in_the_order_of_each_epoch():
    def inputs(token_ids, mask, where):
        return {"hidden": 0.0 * where[..., None].astype("float32")}

    # The first two batches are of one length: on TensorFlow, Keras goes by them.
    data = Batches(MANY, MANY.labels["clean"], inputs, batch_size=8, seed=10)
    first, second, *others = [labels.shape[1] for _, labels in data]
    assert first == second
    assert set(others) != {first}
    hidden = keras.Input((None, 1), name="hidden")
    model = keras.Model({"hidden": hidden}, keras.layers.Dense(1)(hidden))

    def mean_label(y_true, y_pred):
        real = keras.ops.cast(y_true >= 0, "float32")
        labels = real * keras.ops.cast(y_true, "float32")
        zero = 0.0 * keras.ops.sum(y_pred)
        return zero + keras.ops.sum(labels) / keras.ops.sum(real)

    model.compile(keras.optimizers.SGD(0.0), mean_label)
    callback = Seen()
    model.fit(
        data.feed(),
        initial_epoch=1,
        epochs=3,
        shuffle=False,
        callbacks=[OrderOfEpoch(data), callback],
        verbose=0,
    )
    expected = []
    for epoch in (1, 2):
        data.start(epoch)
        expected += [labels[labels >= 0].mean() for _, labels in data]
    np.testing.assert_allclose(callback.losses, expected, rtol=1e-4)
