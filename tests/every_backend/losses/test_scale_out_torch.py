"""Two processes of `DistributedDataParallel` learn and report what one does."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import torch

from keras_robust import SGCE, ExpectedCalibrationError

# What docs/scale-out.md tells to do, run by each of the processes.
PROCESS = """
import json, os, sys
import keras
import numpy as np
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from keras_robust import (SGCE, ExpectedCalibrationError)

rank, world, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
dist.init_process_group(
    "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=world
)
data = np.load(f"{folder}/data.npz")
part = slice(rank, None, world)
x, y = data["x"][part], data["y"][part]

keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((None, 5)), keras.layers.Dense(7)])
shared = DistributedDataParallel(model)
loss = SGCE(q=0.6, smoothing=0.1, from_logits=True, reduction="sum")
metric = ExpectedCalibrationError(from_logits=True)

counted = torch.tensor(float((y != -100).sum()))
dist.all_reduce(counted)
logits = shared(torch.tensor(x))
value = loss(y, logits) * world / counted  # the processes' gradients are averaged
value.backward()
mean = value.detach().clone()
dist.all_reduce(mean)

metric.update_state(y, logits)
for variable in metric.variables:
    dist.all_reduce(variable.value)
gradients = [w.value.grad.tolist() for w in model.trainable_variables]
if rank == 0:
    answer = {"loss": float(mean) / world, "ece": float(metric.result())}
    print(json.dumps({**answer, "gradients": gradients}))
dist.barrier()
dist.destroy_process_group()
"""


def test_unequal_numbers_of_valid_tokens_change_nothing(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 6, 5)).astype("float32")
    y = rng.integers(0, 7, (8, 6))
    y[::2, 1:] = -100  # one process counts 4 tokens, the other 24
    np.savez(tmp_path / "data.npz", x=x, y=y)
    command = [sys.executable, "-c", PROCESS]
    processes = [
        subprocess.Popen(
            [*command, str(rank), "2", str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [p.returncode for p in processes] == [0, 0], outputs
    together = json.loads(outputs[0][0].splitlines()[-1])

    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((None, 5)), keras.layers.Dense(7)])
    logits = model(torch.tensor(x))
    value = SGCE(q=0.6, smoothing=0.1, from_logits=True)(y, logits)
    value.backward()
    metric = ExpectedCalibrationError(from_logits=True)
    metric.update_state(y, logits)
    assert together["loss"] == pytest.approx(float(value.detach()), rel=1e-6)
    assert together["ece"] == pytest.approx(float(metric.result()), rel=1e-6)
    for w, gradient in zip(model.trainable_variables, together["gradients"]):
        np.testing.assert_allclose(gradient, w.value.grad, rtol=1e-5, atol=1e-7)
