"""Features of photographs, learnt from the images alone."""

from typing import Any

import joblib
import numpy as np
import tqdm
from numpy.lib.stride_tricks import sliding_window_view

# Images of which the dictionary is learnt, and patches of these.
_LEARNT_FROM, _PATCHES = 2_000, 100_000
_PIECE = 250


def patch_features(
    images: np.ndarray,
    *,
    train: int,
    patch: int = 6,
    stride: int = 2,
    words: int = 800,
    jobs: int = 2,
) -> np.ndarray:
    """Describes images by a dictionary of patches, learnt without any label.

    Patches are brought to the same contrast and whitened, k-means finds typical ones,
    the words; an image is described by how near each of its quarters comes to each of
    them, and then scaled.

    Args:
        images: uint8 array of shape `(N, 32, 32, 3)`.
        train: The first `train` of them are for training: words are learnt from 2,000
            of these at most, the scale from all of them.
        patch: Side of a patch, in pixels. Defaults to 6.
        stride: Pixels from one patch to the next. Defaults to 2.
        words: Number of typical patches. Defaults to 800.
        jobs: Number of processes. Defaults to 2.

    Returns:
        float16 array of shape `(N, 4 * words)`.

    Raises:
        ValueError: If there are fewer patches than words.

    Examples:
        >>> import numpy as np
        >>> from engine import patch_features
        >>> images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3))
        >>> patch_features(images.astype("uint8"), train=6, words=5, jobs=1).shape
        (8, 20)

    Reference:
        Coates, Ng and Lee, "An Analysis of Single-Layer Networks in Unsupervised
        Feature Learning", AISTATS 2011.
    """
    known = _dictionary(images[: min(train, _LEARNT_FROM)], patch, stride, words)
    pieces = [images[i : i + _PIECE] for i in range(0, len(images), _PIECE)]
    done = joblib.Parallel(jobs, return_as="generator")(
        joblib.delayed(_described)(piece, patch, stride, *known) for piece in pieces
    )
    bar = tqdm.tqdm(done, total=len(pieces), desc="features", disable=len(pieces) < 2)
    features = np.concatenate(list(bar))
    mean = features[:train].mean(axis=0, dtype="float32")
    spread = features[:train].std(axis=0, dtype="float32") + 0.01
    return ((features - mean) / spread).astype("float16")


def _patches(images: np.ndarray, patch: int, stride: int) -> np.ndarray:
    """Returns patches of images, of the same brightness and contrast."""
    view = sliding_window_view(images, (patch, patch, 3), axis=(1, 2, 3))
    view = view[:, ::stride, ::stride, 0]
    flat = view.reshape(*view.shape[:3], -1).astype("float32")
    flat -= flat.mean(axis=-1, keepdims=True)
    return flat / np.sqrt(flat.var(axis=-1, keepdims=True) + 10)


def _dictionary(images: np.ndarray, patch: int, stride: int, words: int) -> Any:
    """Returns the mean of patches, what whitens them, and typical ones."""
    from sklearn.cluster import MiniBatchKMeans

    some = _patches(images, patch, stride).reshape(-1, patch * patch * 3)
    some = np.random.default_rng(0).permutation(some)[:_PATCHES]
    centre = some.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(some.T))
    whitening = (vectors / np.sqrt(values + 0.1) @ vectors.T).astype("float32")
    means = MiniBatchKMeans(
        words, batch_size=5000, n_init=1, max_iter=20, random_state=0
    )
    means.fit((some - centre) @ whitening)
    return centre, whitening, means.cluster_centers_.astype("float32")


def _described(
    images: np.ndarray,
    patch: int,
    stride: int,
    centre: np.ndarray,
    whitening: np.ndarray,
    words: np.ndarray,
) -> np.ndarray:
    """Returns how near each quarter of an image comes to words, if nearer than most."""
    x = (_patches(images, patch, stride) - centre) @ whitening
    square = (x**2).sum(axis=-1, keepdims=True) - 2 * x @ words.T
    far = np.sqrt(np.maximum(square + (words**2).sum(axis=-1), 0))
    near = np.maximum(far.mean(axis=-1, keepdims=True) - far, 0)
    half = near.shape[1] // 2
    halves = slice(0, half), slice(half, None)
    quarters = [near[:, i, j].sum(axis=(1, 2)) for i in halves for j in halves]
    return np.concatenate(quarters, axis=-1).astype("float16")


def principal_components(
    features: np.ndarray, *, train: int, components: int
) -> np.ndarray:
    """Returns the first components of features, float32 of `(N, components)`.

    Learnt from every third of the training images, and of variance 1 on average, as
    they are: the first keep their larger scale.
    """
    from sklearn.decomposition import PCA

    learnt = np.asarray(features[:train:3], "float32")
    known = PCA(components, svd_solver="randomized", random_state=0).fit(learnt)
    pieces = range(0, len(features), 5_000)  # of half precision, too many for one copy
    x = np.concatenate(
        [
            known.transform(np.asarray(features[i : i + 5_000], "float32"))
            for i in pieces
        ]
    )
    return (x / np.sqrt(known.explained_variance_.mean())).astype("float32")
