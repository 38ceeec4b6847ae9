"""What a child process does with an engine over the software driver, a function a scene: numbers in, numbers out.

    python -m support.cuda.scenes < requests > answers

A line of JSON a request, `[scene, arguments]`, and a line of JSON its answer. libcuda is loaded once a process.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from support.cuda.software_plan import SoftwarePlan, driver, expected, random_feeds

from engines.errors import BackendError, FeedError
from engines.trt.open_cuda import open_cuda
from engines.trt.records import Device, Profile
from engines.trt.runtime import TrtEngine

LIBRARY: Any = os.environ.get("SCENES_CUDA", "auto")
KINDS = ("device", "host", "stream", "event", "graph", "exec", "retained", "current")


def counts() -> dict[str, int]:
    """What the driver holds, where it is not nothing."""
    found = {kind: driver().software_count(kind.encode()) for kind in KINDS}
    return {kind: count for kind, count in found.items() if count}


def count(what: str) -> int:
    return int(driver().software_count(what.encode()))


def open_engine(plan: SoftwarePlan | None = None, *, cuda_graphs: bool = True) -> TrtEngine:
    return TrtEngine(
        plan or SoftwarePlan(), open_cuda(LIBRARY), name="scene", precision="float16", cuda_graphs=cuda_graphs
    )


def is_right(engine: TrtEngine, batch: int, seed: int) -> bool:
    feeds = random_feeds(batch, seed)
    answers, wanted = engine.infer(feeds), expected(feeds)
    return all(
        answers[key].dtype == value.dtype and np.array_equal(answers[key], value) for key, value in wanted.items()
    )


def describe() -> dict[str, Any]:
    """What an engine says of itself."""
    plan = SoftwarePlan()
    with open_engine(plan) as engine, open_engine(cuda_graphs=False) as plain:
        said = [engine.backend, plain.backend, open_cuda_name(), engine.memory_bytes, engine.n_layers]
        shapes = {key: str(spec) for key, spec in (engine.inputs | engine.outputs).items()}
    engine.close()
    return {"said": said, "shapes": shapes, "closed": plan.closed, "left": counts()}


def open_cuda_name() -> str:
    cuda = open_cuda(LIBRARY)
    cuda.close()
    return cuda.name


def answer(batches: Sequence[int], seed: int) -> dict[str, Any]:
    """Batches in that order, with and without graphs."""
    with open_engine() as engine, open_engine(cuda_graphs=False) as plain:
        right = [is_right(each, batch, seed + i) for each in (engine, plain) for i, batch in enumerate(batches)]
    return {"right": all(right), "left": counts()}


def keep() -> bool:
    """Answers belong to the caller."""
    with open_engine() as engine:
        first = [engine.infer(random_feeds(2, seed)) for seed in range(4)]
    return all(
        np.array_equal(found[key], value) and found[key].flags.owndata
        for seed, found in enumerate(first)
        for key, value in expected(random_feeds(2, seed)).items()
    )


def repeat(n: int) -> dict[str, Any]:
    """Many inferences allocate nothing."""
    made = [f"made {kind}" for kind in KINDS[:6]]
    with open_engine() as engine:
        feeds = random_feeds(1, 0)
        for _ in range(3):
            engine.infer(feeds)
        before, launches = [count(kind) for kind in made], count("launches")
        for _ in range(n):
            engine.infer(feeds)
        after = [count(kind) for kind in made]
        right = is_right(engine, 1, 1)
    return {"before": before, "after": after, "launches": count("launches") - launches - 1, "right": right}


def capture(batches: Sequence[int]) -> list[list[int]]:
    """Graphs made, and launched, after each batch."""
    with open_engine() as engine:
        made, launches = count("made exec"), count("launches")
        found = []
        for batch in batches:
            assert is_right(engine, batch, batch)
            found.append([count("made exec") - made, count("launches") - launches])
        assert count("exec") <= 2
        assert count("graph") == 0
    return found


def warm() -> list[int]:
    """Graphs made by warming up, and after it; graphs launched after it."""
    with open_engine() as engine:
        made = count("made exec")
        engine.warm_up()
        warmed, launches = count("made exec") - made, count("launches")
        assert is_right(engine, 1, 1)
        assert is_right(engine, 8, 2)
        return [warmed, count("made exec") - made, count("launches") - launches]


def fail(code: int, function: str = "*") -> list[dict[str, Any]]:
    """One call of the driver after the other fails: opening, four inferences, closing.

    Where that passes, another user keeps the context, so that what is not given back stays.
    """
    found: list[dict[str, Any]] = []
    other = open_cuda(LIBRARY) if code < 700 else None
    for n in range(1, 400):
        plan, error, right, closed = SoftwarePlan(), "", 0, False
        driver().software_fail(function.encode(), n, code)
        try:
            with open_engine(plan) as engine:
                for seed in range(4):
                    right += is_right(engine, 1, seed)
        except BackendError as refused:
            error = str(refused)
        failed = count("pending") == 0
        driver().software_fail(b"*", 0, 0)
        closed = not plan.closed or plan.closed[-1] == "plan"
        if not failed:
            if other is not None:
                other.close()
            return found
        call = driver().software_failed().decode()
        found.append({"call": call, "error": error, "right": right, "closed": closed, "left": counts()})
    return found


def recover() -> dict[str, Any]:
    """A call that failed for a passing reason, one that was interrupted, and the next one."""
    plan = SoftwarePlan()
    with open_engine(plan) as engine:
        before = [is_right(engine, 1, seed) for seed in range(3)]
        driver().software_fail(b"cuGraphLaunch", 1, 2)
        messages = [refusal(lambda: engine.infer(random_feeds(1, 0)))]
        after = [is_right(engine, 1, seed) for seed in range(3)]
        plan.interrupt = KeyboardInterrupt()
        try:
            engine.infer(random_feeds(3, 0))
        except KeyboardInterrupt:
            messages.append(f"interrupted, {count('queued')} queued")
        after += [is_right(engine, 3, seed) for seed in range(3)]
    messages.append(refusal(lambda: engine.infer(random_feeds(1, 0))))
    return {"before": before, "after": after, "messages": messages, "left": counts()}


def refusal(call: Callable[[], object]) -> str:
    try:
        call()
    except BackendError as error:
        return str(error)
    return "no error"


def unrecordable() -> dict[str, Any]:
    """A plan whose kernels cannot be recorded runs without."""
    with open_engine(SoftwarePlan(recordable=False)) as engine:
        right = [is_right(engine, 1, seed) for seed in range(4)]
        return {"right": right, "backend": engine.backend, "launches": count("launches")}


def hole() -> str:
    """A batch that no profile holds."""
    with open_engine(SoftwarePlan(profiles=(Profile(1, 1, 1), Profile(4, 5, 5)))) as engine:
        assert is_right(engine, 5, 0)
        return refusal(lambda: engine.infer(random_feeds(7, 0)))  # five, and two are in the hole


def threads() -> dict[str, Any]:
    """Opened in one thread, used in others, closed in another."""
    engines: list[TrtEngine] = []
    right: list[bool] = []
    seen: list[int] = []

    def use() -> None:
        right.extend(is_right(engines[0], batch, batch) for batch in (1, 1, 1, 5, 5, 20))
        seen.append(count("current"))

    steps: list[Callable[[], object]] = [lambda: engines.append(open_engine()), use, use, lambda: engines[0].close()]
    for step in steps:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    return {"right": right, "seen": seen, "left": counts()}


def together() -> dict[str, Any]:
    """Two threads at once: the second is refused; closed meanwhile: given back when the first is done."""
    plan, inside, go = SoftwarePlan(), threading.Event(), threading.Event()
    engine = open_engine(plan)
    plan.meanwhile = lambda: (inside.set(), go.wait(10))  # of the kernels
    right: list[bool] = []
    first = threading.Thread(target=lambda: right.append(is_right(engine, 1, 0)))
    first.start()
    inside.wait(10)
    message = refusal(lambda: engine.infer(random_feeds(1, 1)))
    engine.close()
    still = counts().get("retained", 0)
    go.set()
    first.join()
    return {"right": right, "message": message, "retained": still, "closed": plan.closed, "left": counts()}


def beside() -> dict[str, Any]:
    """Another user of the device in the same thread keeps its context."""
    other = open_cuda(LIBRARY)
    seen = []
    with other.current():
        engine = open_engine()
        seen.append(count("current"))
        right = [is_right(engine, 1, seed) for seed in range(3)]
        seen.append(count("current"))
        engine.close()
        seen.append(count("current"))
        free = other.free_bytes()
    other.close()
    return {"right": right, "seen": seen, "free": free > 0, "left": counts()}


def leave(close: bool) -> str:
    """End the process with an engine open, or closed, and used in two threads."""
    engine = open_engine()
    assert is_right(engine, 1, 0)
    thread = threading.Thread(target=lambda: is_right(engine, 1, 1))
    thread.start()
    thread.join()
    if close:
        engine.close()
    else:
        KEPT.append(engine)
    return "left"


KEPT: list[TrtEngine] = []


def drop() -> dict[str, Any]:
    """An engine that nobody closed is closed when it is collected."""
    plan = SoftwarePlan()
    engine = open_engine(plan)
    assert is_right(engine, 1, 0)
    del engine
    return {"closed": plan.closed, "left": counts()}


def refuse() -> list[str]:
    """Without a device: what opening says."""
    from engines.trt.plan import load_plan
    from engines.trt.runtime import open_plan

    def forced() -> Any:
        return open_cuda(LIBRARY, device=Device("None", "9.0", False, 0, "0"))

    return [
        refusal(lambda: open_cuda(LIBRARY)),
        refusal(lambda: open_plan(b"plan", name="scene", precision="float32", cuda=LIBRARY)),
        refusal(lambda: load_plan(b"plan", "scene")),
        refusal(forced),
    ]


def misfits() -> list[str]:
    """Feeds that do not fit, after some that did."""
    good = random_feeds(1, 0)
    without = {key: array for key, array in good.items() if key != "codes"}
    turned = {"wide": np.ascontiguousarray(good["wide"].swapaxes(1, 2))}
    bad: list[Any] = [
        *({}, without, good | {"wide": good["wide"].astype(np.float64)}, good | turned),
        *(good | {"narrow": random_feeds(2, 0)["narrow"]}, good | {"wide": good["wide"].tolist()}),
    ]
    said = []
    with open_engine() as engine:
        for feeds in bad:
            assert is_right(engine, 1, 0)
            try:
                engine.infer(feeds)
            except FeedError as error:
                said.append(str(error))
        strided = {key: np.repeat(array, 2, axis=-1)[..., ::2] for key, array in good.items()}
        answers = engine.infer(strided)
        said.append("right" if np.array_equal(answers["mixed"], expected(good)["mixed"]) else "wrong")
    return said


def interrupted() -> dict[str, int]:
    """A context that was entered and never left, as after an interruption, in this thread."""
    engine = open_engine()
    cuda = open_cuda(LIBRARY)
    cuda.current().__enter__()
    assert is_right(engine, 1, 0)
    engine.close()
    cuda.close()
    found = counts()
    found.pop("current", 0)
    return found


def stay() -> list[str]:
    """In a thread of its own, which ends afterwards, the context cannot be given back."""
    said: list[str] = []

    def work() -> None:
        with open_engine() as engine:
            for done in (False, True):
                driver().software_fail(b"cuCtxPopCurrent_v2", 1, 2)
                said.append(refusal(lambda: engine.infer(random_feeds(1, 0))))
                assert is_right(engine, 1, done)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return [*said, str(counts())]


def use() -> list[Any]:
    """An engine until it fails."""
    with open_engine() as engine:
        message = refusal(lambda: [is_right(engine, 1, seed) for seed in range(5)])
    return [message, counts()]


def main() -> None:
    for line in sys.stdin:
        scene, arguments = json.loads(line)
        print(json.dumps(globals()[scene](*arguments)), flush=True)


if __name__ == "__main__":
    main()
