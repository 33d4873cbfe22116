"""How many operations PyTorch is sent, and that none has to be waited for."""

import keras
import pytest
from backend import BACKEND

if BACKEND != "torch":
    pytest.skip("about PyTorch", allow_module_level=True)

import torch
from keras.src.backend.common import global_state
from torch.utils._python_dispatch import TorchDispatchMode

from keras_robust import (
    GCE,
    NCERCE,
    SCE,
    SGCE,
    ExpectedCalibrationError,
    ForwardCorrection,
    GammaCE,
)
from keras_robust.losses import RobustLoss, fused_linear
from keras_robust.noise import omission_matrix, symmetric_matrix

SMALL = 128, 10
ANY = [SMALL, (8192, 1000), (8192, 32000), (4, 8, 1000)]
LOSSES = [
    (GCE(from_logits=True), 36),
    (GCE(q=0.0, from_logits=True), 34),
    (GCE(cutoff=0.1, from_logits=True), 40),
    (SCE(from_logits=True), 39),
    (GammaCE(from_logits=True), 39),
    (GammaCE(b=0.2, from_logits=True), 43),
    (SGCE(from_logits=True), 53),
    (NCERCE(from_logits=True), 54),
]


class Operations(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.fixture
def device(request):
    # Not by `keras.device`, under which Keras hands on tensors without a gradient.
    device = torch.device(request.param)
    global_state.set_global_attribute("torch_device", device)
    yield device
    global_state.set_global_attribute("torch_device", None)


def operations(loss, shape, device, **options):
    logits = torch.randn(shape, device=device, requires_grad=True)
    labels = torch.zeros(shape[:-1], dtype=torch.int64, device=device)
    loss(labels, logits).backward()  # what is done only once
    logits.grad = None
    with Operations() as seen:
        loss(labels, logits, **options).backward()
    return len(seen.names)


# "meta" has no numbers: to read one raises an error.
@pytest.mark.parametrize("device", ["meta"], indirect=True)
def test_off_the_cpu_a_loss_is_few_operations_at_any_size(device):
    for loss, most in LOSSES:
        for shape in ANY:
            assert operations(loss, shape, device) <= most, (loss.name, shape)


@pytest.mark.parametrize("device", ["cpu"], indirect=True)
def test_on_a_cpu_a_loss_of_few_rows_is_few_operations(device):
    for loss, most in LOSSES:
        assert operations(loss, SMALL, device) <= most, loss.name


@pytest.mark.parametrize("device", ["meta"], indirect=True)
def test_a_correction_is_hardly_more(device):
    cross_entropy = GCE(q=0.0, from_logits=True)
    for matrix in (omission_matrix(10, 0.2), symmetric_matrix(10, 0.2)):
        loss = ForwardCorrection(matrix, cross_entropy)
        assert operations(loss, SMALL, device) <= 56


@pytest.mark.parametrize("device", ["meta"], indirect=True)
def test_nor_are_weights_masks_and_own_losses_read(device):
    class Linear(RobustLoss):
        def label_cost(self, log_p):
            return 1.0 - keras.ops.exp(log_p)

    weight = torch.ones(SMALL[:1], device=device)
    for loss in (GCE(from_logits=True), SGCE(from_logits=True)):
        assert operations(loss, SMALL, device, sample_weight=weight) <= 65
    assert operations(Linear(from_logits=True), SMALL, device) <= 65


@pytest.mark.parametrize("device", ["meta"], indirect=True)
def test_off_the_cpu_a_fused_loss_takes_chunks_as_large_as_the_hidden_states(device):
    hidden = torch.zeros(8192, 2048, device=device, requires_grad=True)
    kernel = torch.zeros(2048, 32000, device=device, requires_grad=True)
    labels = torch.zeros(8192, dtype=torch.int64, device=device)
    with Operations() as seen:
        fused_linear(GammaCE(from_logits=True), labels, hidden, kernel).backward()
    # Logits of 16 chunks, and what goes back to the hidden states from each.
    assert seen.names.count("aten.mm.default") == 2 * 16
    assert "aten._local_scalar_dense.default" not in seen.names


def test_an_update_of_the_ece_is_few_operations():
    logits, labels = torch.randn(SMALL), torch.zeros(SMALL[0], dtype=torch.int64)
    for from_logits in (False, True):
        metric = ExpectedCalibrationError(from_logits=from_logits)
        y_pred = logits if from_logits else torch.softmax(logits, -1)
        metric.update_state(labels, y_pred)
        with Operations() as seen:
            metric.update_state(labels, y_pred)
        assert len(seen.names) <= 33, from_logits
