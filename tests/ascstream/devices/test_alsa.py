"""Names of sound cards that stay: sysfs as the kernel lays it out, and the same cards under other numbers."""

from __future__ import annotations

from pathlib import Path

from ascstream.devices import Microphone
from ascstream.devices.alsa import busy, card_ids, stable_id
from ascstream.devices.microphones import tell_busy


class Machine:
    """A tree of /sys and /proc to plug cards into."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def usb(
        self, card: int, port: str, serial: str = "", product: str = "0825", controller: str = "0000:00:14.0"
    ) -> None:
        device = self.root / f"sys/devices/pci0000:00/{controller}/usb1/1-{port}"
        interface = device / f"1-{port}:1.2"
        interface.mkdir(parents=True)
        (device / "idVendor").write_text("046d\n")
        (device / "idProduct").write_text(f"{product}\n")
        if serial:
            (device / "serial").write_text(f"{serial}\n")
        self._card(card, interface)

    def built_in(self, card: int, bus: str, place: str) -> None:
        device = self.root / f"sys/devices/{bus}/{place}"
        device.mkdir(parents=True)
        (self.root / f"sys/bus/{bus}").mkdir(parents=True, exist_ok=True)
        (device / "subsystem").symlink_to(self.root / f"sys/bus/{bus}")
        self._card(card, device)

    def _card(self, card: int, device: Path) -> None:
        folder = self.root / f"sys/class/sound/card{card}"
        folder.mkdir(parents=True)
        (folder / "device").symlink_to(device)


def test_a_usb_card_is_told_by_its_serial_number_wherever_it_is(tmp_path: Path) -> None:
    before, after = Machine(tmp_path / "before"), Machine(tmp_path / "after")
    before.usb(1, "2", "8D3E1D60")
    after.built_in(1, "platform", "sound")
    after.usb(3, "4.1", "8D3E1D60")
    assert card_ids(before.root) == {1: "usb-046d:0825-8D3E1D60"}
    assert card_ids(after.root) == {1: "platform-sound", 3: "usb-046d:0825-8D3E1D60"}


def test_a_usb_card_without_a_serial_number_is_told_by_its_port(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.usb(0, "2.4")
    machine.usb(1, "3", controller="3610000.usb")
    assert card_ids(tmp_path) == {0: "usb-046d:0825@0000:00:14.0-2.4", 1: "usb-046d:0825@3610000.usb-3"}


def test_two_cards_with_one_serial_number_are_told_by_their_ports_too(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.usb(0, "1", "0001")
    machine.usb(1, "2", "0001")
    machine.usb(2, "3", "0001", product="0001")
    assert card_ids(tmp_path) == {
        0: "usb-046d:0825-0001@0000:00:14.0-1",
        1: "usb-046d:0825-0001@0000:00:14.0-2",
        2: "usb-046d:0001-0001",
    }


def test_a_serial_number_is_made_fit_for_a_command_line(tmp_path: Path) -> None:
    Machine(tmp_path).usb(0, "1", "Ünit  no; 5")
    assert card_ids(tmp_path) == {0: "usb-046d:0825-_nit_no_5"}


def test_a_built_in_card_is_told_by_its_place(tmp_path: Path) -> None:
    Machine(tmp_path).built_in(0, "pci", "0000:00:1f.3")
    assert card_ids(tmp_path) == {0: "pci-0000:00:1f.3"}


def test_where_only_proc_tells_its_word_is_taken(tmp_path: Path) -> None:
    for number, files in enumerate(({"id": "PCH"}, {"id": "C525", "usbid": "046d:0826", "usbbus": "001/004"}, {})):
        folder = tmp_path / f"proc/asound/card{number}"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text + "\n")
    assert card_ids(tmp_path) == {0: "id-PCH", 1: "usb-046d:0826", 2: "id-card2"}


def test_no_card_has_no_id(tmp_path: Path) -> None:
    assert card_ids(tmp_path) == {}


def test_only_a_card_s_own_device_has_a_stable_id() -> None:
    ids = {1: "usb-046d:0825-8D3E1D60"}
    assert stable_id("HD Webcam C525: USB Audio (hw:1,0)", ids) == "alsa:usb-046d:0825-8D3E1D60,0"
    assert stable_id("HD Webcam C525: USB Audio (hw:1,2)", ids) == "alsa:usb-046d:0825-8D3E1D60,2"
    assert stable_id("HD Webcam C525: USB Audio (hw:2,0)", ids) is None
    assert stable_id("pulse", ids) is None


def test_a_card_that_another_program_records_from_is_told_where_it_is_not_listed(tmp_path: Path) -> None:
    for place, text in (
        ("asound/card1/pcm0c/sub0/status", "state: RUNNING\nowner_pid   : 321\ntrigger_time: 12.5\n"),
        ("asound/card1/pcm0p/sub0/status", "state: RUNNING\nowner_pid   : 322\n"),  # it plays
        ("asound/card2/pcm3c/sub0/status", "closed\n"),
        ("321/comm", "arecord\n"),
    ):
        file = tmp_path / "proc" / place
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert busy(tmp_path) == {(1, 0): "arecord (process 321)"}
    assert tell_busy((), tmp_path) == (
        "microphone hw:1,0 is in use by arecord (process 321), and so not listed: "
        "end that, or record through its server",
    )
    listed = Microphone(0, 2, "C525: USB Audio (hw:1,0)", "ALSA", 1, 48_000, default=False)
    assert tell_busy((listed,), tmp_path) == ()
