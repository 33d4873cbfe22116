"""Reliability diagrams for TensorBoard, written without TensorFlow.

TensorBoard's own `summary.Writer` knows no images, and what does needs TensorFlow or
PyTorch: so the messages are made here.
"""

import io
import time
from pathlib import Path
from typing import Any

from keras_robust.calibration._bins.bins import ReliabilityBins
from keras_robust.calibration._display.display import ReliabilityDisplay


class Writer:
    """Writes one event file with a diagram and scalars for each epoch."""

    def __init__(self, log_dir: Any) -> None:
        try:
            import matplotlib  # noqa: F401
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise ImportError(
                "ReliabilityHistory needs tensorboard and matplotlib for `log_dir`: "
                "pip install tensorboard matplotlib."
            ) from error
        Path(log_dir).mkdir(parents=True, exist_ok=True)
        self._events = EventFileWriter(str(log_dir))

    def write(
        self, epoch: int, bins: ReliabilityBins, min_count: float, notion: str
    ) -> None:
        """Writes what one epoch's table shows."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        scalars = {
            "ece": bins.ece(),
            "mce": bins.mce(min_count),
            "ece_if_calibrated": bins.null_ece().null_mean,
            "signed_gap": bins.signed_gap(),
        }
        values = [
            Summary.Value(tag=f"reliability/{name}", simple_value=value)
            for name, value in scalars.items()
        ]
        png, width, height = _diagram(bins, f"epoch {epoch}", notion)
        image = Summary.Image(
            encoded_image_string=png, width=width, height=height, colorspace=4
        )
        values.append(Summary.Value(tag="reliability/diagram", image=image))
        summary = Summary(value=values)
        self._events.add_event(
            Event(wall_time=time.time(), step=epoch, summary=summary)
        )

    def flush(self) -> None:
        """Makes sure that everything is on disk."""
        self._events.flush()


def _diagram(bins: ReliabilityBins, name: str, notion: str) -> tuple[bytes, int, int]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot's: its figures stay in memory until they are closed.
    figure = Figure(figsize=(4.8, 6), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    ReliabilityDisplay(bins, name=name, notion=notion).plot(figure.subplots())
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue(), *canvas.get_width_height()
