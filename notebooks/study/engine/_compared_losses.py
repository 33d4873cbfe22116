"""The losses that are compared, at their authors' parameters and at others."""

from dataclasses import dataclass, field
from typing import Any

from engine._hidden_layer import OPTIONS
from keras_robust import GCE, SCE, SGCE, ForwardCorrection, GammaCE
from keras_robust.callbacks import NoiseAwareGamma

# Those that are recommended, of which the best is what the others are held against.
OURS = (
    "GCE",
    "SGCE",
    "GammaCE, true rate",
    "GammaCE, estimated rate",
    "ForwardCorrection",
)

# By loss, what its authors took. That of SGCE is the article's code's.
_AUTHORS: dict[str, dict[str, float]] = {
    "CE": {},
    "GCE": {"q": 0.7},
    "SGCE": {"q": 0.5, "smoothing": 0.1},
    "GammaCE, true rate": {},
    "GammaCE, estimated rate": {},
    "ForwardCorrection": {},
    "SCE": {"alpha": 0.1, "beta": 1.0},
    "truncated GCE": {"q": 0.7, "cutoff": 0.5},
    "label smoothing": {"smoothing": 0.1},
}
# The others that are tried. Adam takes no notice of a loss's scale, so that of two
# weights their ratio is what there is to choose.
_OTHERS: dict[str, list[dict[str, float]]] = {
    "GCE": [{"q": q} for q in (0.2, 0.4, 0.6)],
    "SGCE": [{"q": q, "smoothing": 0.1} for q in (0.3, 0.7)],
    "SCE": [{"alpha": a, "beta": 1.0} for a in (1.0, 0.01)],
    "truncated GCE": [{"q": 0.7, "cutoff": k} for k in (0.3, 0.1)],
    "label smoothing": [{"smoothing": s} for s in (0.2, 0.4)],
}
NAMES = tuple(_AUTHORS)


@dataclass(frozen=True)
class Compared:
    """A loss at one setting of its parameters."""

    loss: str
    authors: bool
    arguments: dict[str, float] = field(default_factory=dict)

    @property
    def parameters(self) -> str:
        """The column that names the setting."""
        return ", ".join(f"{name}={value:g}" for name, value in self.arguments.items())

    @property
    def warm(self) -> bool:
        """Whether epochs of cross entropy come first, as the loss asks for."""
        return self.loss in ("truncated GCE", "ForwardCorrection")

    def made(self, rate: float, matrix: Any) -> Any:
        """Returns the loss, for a rate of wrong labels and their transition matrix."""
        if self.loss == "CE":
            return GCE(q=0.0, **OPTIONS)
        if self.loss == "GammaCE, true rate":
            return GammaCE.from_noise_rate(10, rate, **OPTIONS)
        if self.loss == "GammaCE, estimated rate":
            return GammaCE(gamma=0.0, **OPTIONS)  # the callback sets it
        if self.loss == "ForwardCorrection":
            return ForwardCorrection(matrix, **OPTIONS)
        if self.loss == "label smoothing":
            # Over all ten classes, the label's own too, as its authors and Keras do.
            return SGCE(q=0.0, smoothing=0.9 * self.arguments["smoothing"], **OPTIONS)
        kinds = {"GCE": GCE, "truncated GCE": GCE, "SGCE": SGCE, "SCE": SCE}
        return kinds[self.loss](**self.arguments, **OPTIONS)

    def callbacks(self, x: Any, given: Any, warmup: int) -> list[Any]:
        """Returns what estimates the rate, on noisy development labels."""
        if self.loss != "GammaCE, estimated rate":
            return []
        return [NoiseAwareGamma((x, given), warmup_epochs=warmup, batch_size=1000)]


def compared(losses: Any, *, authors: bool) -> list[Compared]:
    """Returns the losses at their authors' parameters, or at the others to try."""
    if authors:
        return [Compared(name, True, _AUTHORS[name]) for name in losses]
    tried = [(name, given) for name in losses for given in _OTHERS.get(name, [])]
    return [Compared(name, False, given) for name, given in tried]
