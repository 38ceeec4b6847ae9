"""Several sinks as one: everyone gets everything, whoever fails."""

import pytest
from support.predictions import feed, make_prediction

from ascstream.errors import OutputError
from ascstream.records import Prediction, StreamEvent
from ascstream.sinks import Sink, SinkGroup
from ascstream.sources.base import SourceInfo
from ascstream.stats import StreamStats, StreamSummary


class ListSink(Sink):
    """Keeps what it is given; fails at the prediction that ends at `fails_at`."""

    def __init__(self, fails_at: float = -1.0, failure: type[OSError] = OutputError) -> None:
        self.taken: list[str] = []
        self.fails_at = fails_at
        self.failure = failure

    def begin(self, info: SourceInfo, stats: StreamStats) -> None:
        self.taken.append("begin")

    def emit(self, prediction: Prediction) -> None:
        if prediction.end == self.fails_at:
            raise self.failure("disk full")
        self.taken.append(f"{prediction.end:g}")

    def event(self, event: StreamEvent) -> None:
        self.taken.append(event.kind)

    def end(self, summary: StreamSummary, error: str | None) -> None:
        self.taken.append(f"end {error}")

    def close(self) -> None:
        self.taken.append("close")


PREDICTIONS = [make_prediction(1.0), make_prediction(2.0), make_prediction(3.0)]


def test_all_get_the_same():
    sinks = [ListSink(), ListSink()]
    group = SinkGroup(sinks)
    feed(group, PREDICTIONS, error="cut")
    group.event(StreamEvent(1.0, "gap", "…"))
    group.close()
    group.close()
    assert sinks[0].taken == sinks[1].taken == ["begin", "1", "2", "3", "end cut", "gap", "close"]


def test_one_that_fails_is_closed_and_left_out_after_the_others_were_served():
    bad, good = ListSink(2.0), ListSink()
    group = SinkGroup([bad, good])
    with pytest.raises(OutputError, match="disk full"):
        feed(group, PREDICTIONS)
    assert good.taken == ["begin", "1", "2"]
    group.emit(PREDICTIONS[2])
    group.close()
    assert bad.taken == ["begin", "1", "close"]
    assert good.taken == ["begin", "1", "2", "3", "close"]


def test_a_reader_that_went_away_does_not_stop_files():
    gone, file = ListSink(2.0, BrokenPipeError), ListSink()
    group = SinkGroup([gone, file])
    feed(group, PREDICTIONS)
    assert file.taken == ["begin", "1", "2", "3", "end None"]


def test_a_reader_that_went_away_ends_it_where_nobody_else_listens():
    group = SinkGroup([ListSink(2.0, BrokenPipeError)])
    with pytest.raises(BrokenPipeError):
        feed(group, PREDICTIONS)
