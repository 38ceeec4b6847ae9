"""The live view's technical rows: a device and its level, latency, dropped windows, temperature."""

from __future__ import annotations

from rich.text import Text

from ascstream.live.health import DeviceHealth, Health
from ascstream.sinks.console import lost_for
from ascstream.sinks.drawing import beside, duration, percentiles, shorten
from ascstream.sinks.output import printable
from ascstream.sinks.thermal import Readings
from ascstream.stats import StreamSummary

_QUIETEST = -60.0
"""dBFS at the left end of a meter."""
_LOUD, _CLIPPING = -12.0, -3.0
"""dBFS above which a meter is yellow, and red."""
_WARM, _HOT = 75.0, 85.0
"""Degrees Celsius from which a temperature is yellow, and red: a Jetson slows down near the latter."""
_ROOMY = 60
"""Terminal width from which a row has wide columns."""


def level_meter(dbfs: float, width: int) -> Text:
    """A bar from −60 dBFS to full scale with three zones: safe, loud, clipping."""
    filled = round(width * min(max(1 - dbfs / _QUIETEST, 0.0), 1.0))
    edges = [round(width * (1 - level / _QUIETEST)) for level in (_LOUD, _CLIPPING)]
    text = Text("━" * filled + "─" * (width - filled))
    text.stylize("green", 0, min(filled, edges[0]))
    text.stylize("yellow", edges[0], max(min(filled, edges[1]), edges[0]))
    text.stylize("red", edges[1], max(filled, edges[1]))
    text.stylize("bright_black", filled, width)
    return text


def device_row(device: DeviceHealth, now: float, width: int) -> Text:
    """One device: whether it delivers, what, and how well; as much of that as fits.

    Args:
        device: Its health.
        now: The current moment, `Clock.monotonic`.
        width: Columns.
    """
    roomy = width >= _ROOMY
    name = f"{device.device:<10}" if roomy else {"microphone": "mic"}.get(device.device, device.device).ljust(6)
    if device.state == "running":
        symbol, style = "●", "green"
        parts = _measured(device, roomy)
    else:
        symbol, style = ("○", "red") if device.state == "waiting" else ("◌", "yellow")
        parts = [_not_running(device, now)]
    row = Text().append(symbol, style).append(f" {name}  ", "bold")
    row.append_text(beside(parts, width - row.cell_len))
    about = _about(device)
    if device.state != "running" and device.problem:
        about = device.problem.removeprefix(f"{device.name}: ")
    room = width - row.cell_len - 3
    if about and room >= 8:
        row.append(" " * 3).append(shorten(printable(about), room), "dim")
    row.truncate(width, overflow="crop")
    return row


def measures_row(summary: StreamSummary, health: Health | None, width: int) -> Text:
    """Latency, and how much was lost or dropped; at least the median latency is shown."""
    health = Health(()) if health is None else health
    dropped, waiting = health.n_dropped_windows, health.n_waiting_windows
    drops = Text(f"{dropped} dropped", "yellow" if dropped else "dim")
    name = "latency "
    latency = percentiles(summary.latency, width - len(name) - 3 - drops.cell_len, "  ") if summary.latency.n else "–"
    parts = [
        Text(name, "dim").append(latency, "not dim"),
        drops,
        Text(f"{summary.lost_seconds:.1f} s lost", "yellow" if summary.lost_seconds else "dim"),
        Text(f"{waiting} waiting", "yellow" if waiting > 1 else "dim"),
    ]
    if health.offset_seconds is not None:
        parts.append(Text(f"picture {signed(health.offset_seconds * 1000, 'ms')}", "dim"))
    return beside(parts, width)


def machine_row(about: str, readings: Readings, width: int, *, ascii_only: bool) -> Text:
    """What is running, and the machine's temperature and clock rates."""
    parts = [Text(printable(about), "dim")] if about else []
    if readings.celsius is not None:
        style = "red" if readings.celsius >= _HOT else "yellow" if readings.celsius >= _WARM else "dim"
        parts.append(Text(f"{readings.celsius:.0f} {'' if ascii_only else '°'}C", style))
    for name, hertz in (("CPU", readings.cpu_hz), ("GPU", readings.gpu_hz)):
        if hertz:
            parts.append(Text(f"{name} {hertz / 1e9:.2f} GHz", "dim"))
    return beside(parts, width)


def signed(value: float, unit: str) -> str:
    """A number with its sign: `+12 ppm`, `−32 dBFS`."""
    rounded = round(value)
    sign = "−" if rounded < 0 else "+" if rounded > 0 else "±"
    return f"{sign}{abs(rounded)} {unit}"


def _measured(device: DeviceHealth, roomy: bool) -> list[Text]:
    parts = []
    if device.level_dbfs is not None:
        level = max(device.level_dbfs, -120.0)
        parts.append(
            Text(f"{signed(level, 'dBFS').rjust(9 if roomy else 0)} ").append_text(
                level_meter(level, 16 if roomy else 8)
            )
        )
    if device.frame_rate is not None:
        parts.append(Text(f"{device.frame_rate:.1f} fps".rjust(9 if roomy and not parts else 0)))
    if device.drift_ppm is not None:
        parts.append(Text(signed(device.drift_ppm, "ppm"), "dim"))
    if device.n_losses:
        parts.append(Text(f"lost {device.n_losses}×", "yellow"))
    if device.delay_seconds is not None:
        parts.append(Text(f"delay {duration(device.delay_seconds)}", "dim"))
    return parts


def _not_running(device: DeviceHealth, now: float) -> Text:
    """How long the device has been lost, and what is being done about it."""
    doing = "trying to open it" if device.state == "opening" else "waiting for it"
    if device.lost_since is None:
        return Text(doing, "yellow")
    return Text(f"lost {lost_for(now - device.lost_since)}", "bold red").append(f"  {doing}", "not bold yellow")


def _about(device: DeviceHealth) -> str:
    return " · ".join(part for part in (device.details, device.name) if part)
