"""Run the network without the stream: open a bundle, check it against its golden outputs, time it."""

from ascstream.bundles import find_bundle
from engines.backends import load_engines
from engines.bundle import open_bundle
from engines.check import check_parity, measure, read_golden

bundle = open_bundle(find_bundle())
with load_engines(bundle) as engines:
    report = check_parity(bundle, engines)
    for output in report.outputs:
        verdict = "ok" if output.ok else "NOT within tolerance"
        print(f"{output.output}: {output.max_difference:.1e} from the golden answers, {verdict}")

    golden = read_golden(bundle.read(bundle.manifest.golden or ""), bundle.manifest)
    one = {name: values[:1] for name, values in golden["scene"].feeds.items()}
    timing = measure(engines.scene, one)
    print(f"{engines.backend}: p50 {timing.p50_seconds * 1e3:.2f} ms, p99 {timing.p99_seconds * 1e3:.2f} ms a window")
