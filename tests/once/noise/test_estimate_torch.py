"""What PyTorch hands over: tensors with gradients, in bfloat16."""

import numpy as np
import torch

from keras_robust import GCE
from keras_robust.noise import estimate_matrix, estimate_rate, flip_labels


def test_tensors_are_taken_as_arrays_are():
    rng = np.random.default_rng(0)
    true = rng.integers(0, 3, 600)
    given = flip_labels(true, np.full((3, 3), 0.1) + 0.7 * np.eye(3), seed=1).labels
    logits = 4.0 * np.eye(3, dtype="float32")[true]
    exact = torch.tensor(logits, requires_grad=True)
    for tensor in (exact, exact.to(torch.bfloat16)):
        for estimate in (estimate_rate, estimate_matrix):
            found = estimate(torch.tensor(given), tensor, from_logits=True)
            expected = estimate(given, logits, from_logits=True)
            np.testing.assert_allclose(found, expected, atol=1e-6)
    prob = torch.softmax(exact, -1)
    believed = GCE(q=0.5).posterior(prob)
    np.testing.assert_allclose(believed, GCE(q=0.5).posterior(prob.detach().numpy()))
