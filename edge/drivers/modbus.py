"""Modbus TCP and RTU: holding and input registers by a map in the configuration.

pymodbus builds the requests and reads the registers of an answer. The frame around them is judged here:
pymodbus hunts for the next sound frame where a byte is wrong, and a collector has to say which one it
was. TCP carries no checksum of its own, so there a damaged register can only be caught by `low`, `high`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, NamedTuple

from pydantic import Field, model_validator

from edge.config import DeviceConfig
from edge.driver import DriverError, Reading, RecordError
from edge.lines import LineOptions
from edge.live import Point, check_units, checked, convert, need
from edge.say import Complaints
from edge.turns import Polled

__all__ = [
    "ModbusDriver",
    "Options",
    "RefusedError",
    "Register",
    "Request",
    "blocks",
    "decode",
    "encode",
    "make",
]

MOST_REGISTERS: Final = 125
_WORDS: Final = {"int16": 1, "uint16": 1, "int32": 2, "uint32": 2, "float32": 2,
                 "int64": 4, "uint64": 4, "float64": 4}  # fmt: skip
_FUNCTION: Final = {"holding": 3, "input": 4}
_EXCEPTIONS: Final = {
    1: "illegal function", 2: "illegal data address: the register does not exist",
    3: "illegal data value", 4: "device failure", 5: "acknowledge: it needs longer", 6: "device busy",
    10: "gateway path unavailable", 11: "gateway target does not respond",
}  # fmt: skip
_NOT_OF_REGISTERS: Final = frozenset({5, 6, 10, 11})
"""The device is busy or behind a gateway that does not reach it: asking for less would only cost more."""


class Register(Point):
    """Where one measurement lies.

    Attributes
    ----------
    first : int
        ``register`` in the file: its first register as on the wire, from 0 (the 40001 of a manual is
        holding 0).
    """

    first: Annotated[int, Field(alias="register", ge=0, le=65535)]
    table: Literal["holding", "input"] = "holding"
    type: Literal["int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"] = "uint16"
    word_order: Literal["big", "little"] = "big"

    @property
    def words(self) -> int:
        """How many registers it takes."""
        return _WORDS[self.type]


class Options(LineOptions):
    """The table ``[device.modbus]``.

    Attributes
    ----------
    framing : {"tcp", "rtu"} or None
        None: by the address. ``rtu`` with a TCP address is RTU through a plain serial server.
    meter : int
        The unit or slave id.
    """

    framing: Literal["tcp", "rtu"] | None = None
    meter: Annotated[int, Field(ge=1, le=255)] = 1
    registers: dict[str, Register] = Field(min_length=1)

    @model_validator(mode="after")
    def _fits(self) -> Options:
        check_units(self.registers)
        if self.framing == "tcp" and not self.tcp:
            raise ValueError(f"expected framing = 'rtu' on a serial port, got 'tcp' on {self.address}")
        for name, spec in self.registers.items():
            if spec.first + spec.words > 65536:
                raise ValueError(f"registers.{name}: expected to end by 65535, got {spec.first}")
        return self


class Request(NamedTuple):
    """What was asked: an answer is judged by it."""

    meter: int
    table: str
    register: int
    words: int
    transaction: int
    framing: str


class RefusedError(DriverError):
    """The device refused; `code` is the reason by the Modbus specification."""

    def __init__(self, request: Request, code: int):
        super().__init__(
            f"{request.table} {request.register} to {request.register + request.words - 1}: "
            f"expected registers, got exception {code} ({_EXCEPTIONS.get(code, 'unknown')})"
        )
        self.code = code


@lru_cache(maxsize=1)
def _library() -> tuple[Any, Any, Any, Any]:
    """Give pymodbus's requests, decoder, framers and types; loaded when a device needs them."""
    pdu = need("pymodbus.pdu", "pymodbus", "modbus")
    registers = need("pymodbus.pdu.register_message", "pymodbus", "modbus")
    framer = need("pymodbus.framer", "pymodbus", "modbus")
    mixin = need("pymodbus.client.mixin", "pymodbus", "modbus").ModbusClientMixin
    return registers, pdu.DecodePDU(False), framer, mixin


def encode(request: Request) -> bytes:
    """Give the bytes of a request."""
    registers, decoder, framer, _ = _library()
    kind = (
        registers.ReadHoldingRegistersRequest
        if request.table == "holding"
        else registers.ReadInputRegistersRequest
    )
    pdu = kind(
        address=request.register,
        count=request.words,
        dev_id=request.meter,
        transaction_id=request.transaction,
    )
    frames = framer.FramerSocket if request.framing == "tcp" else framer.FramerRTU
    built: bytes = frames(decoder).buildFrame(pdu)
    return built


def _expect(offset: int, what: str, expected: int, got: int) -> None:
    if expected != got:
        raise RecordError(offset, f"expected {what} {expected}, got {got}")


def _unframe(frame: bytes, request: Request) -> tuple[int, bytes]:
    """Judge what lies around the answer; where it begins, and the function code and all after it."""
    if request.framing == "tcp":
        if len(frame) < 9:
            raise RecordError(len(frame), f"expected at least 9 bytes, got {len(frame)}")
        _expect(0, "transaction", request.transaction, int.from_bytes(frame[0:2], "big"))
        _expect(2, "protocol", 0, int.from_bytes(frame[2:4], "big"))
        announced = 6 + int.from_bytes(frame[4:6], "big")
        if announced > len(frame):
            raise RecordError(len(frame), f"expected {announced} bytes, got {len(frame)}")
        _expect(4, "a length of", len(frame) - 6, announced - 6)
        _expect(6, "unit", request.meter, frame[6])
        return 7, frame[7:]
    if len(frame) < 5:
        raise RecordError(len(frame), f"expected at least 5 bytes, got {len(frame)}")
    rtu = _library()[2].FramerRTU
    crc = int.from_bytes(frame[-2:], "big")
    if not rtu.check_CRC(frame[:-2], crc):
        raise RecordError(
            len(frame) - 2, f"expected checksum 0x{rtu.compute_CRC(frame[:-2]):04X}, got 0x{crc:04X}"
        )
    _expect(0, "unit", request.meter, frame[0])
    return 1, frame[1:-2]


def decode(frame: bytes, request: Request) -> list[int]:
    """Registers of one answer.

    Raises
    ------
    RecordError
        If it is cut off, damaged, of another device or to another question.
    RefusedError
        If the device refused.
    """
    start, pdu = _unframe(frame, request)
    function = _FUNCTION[request.table]
    if pdu[0] == function | 0x80:
        _expect(start + 1, "bytes of an exception", 2, len(pdu))
        raise RefusedError(request, pdu[1])
    _expect(start, "function", function, pdu[0])
    _expect(start + 1, "a byte count of", 2 * request.words, pdu[1])
    _expect(start + 2, "bytes of registers", 2 * request.words, len(pdu) - 2)
    registers: list[int] = _library()[1].decode(pdu).registers
    return registers


def _length(framing: str, head: bytes) -> int | None:
    """How long an answer is, by its first bytes."""
    if framing == "tcp":
        return None if len(head) < 6 else 6 + int.from_bytes(head[4:6], "big")
    if len(head) < 3:
        return None
    return 5 if head[1] & 0x80 else 5 + head[2]


class Block(NamedTuple):
    """Neighbouring registers that are read with one request."""

    table: str
    register: int
    words: int
    names: tuple[str, ...]


def blocks(registers: dict[str, Register]) -> list[Block]:
    """Gather registers that touch; a gap is never read, for it may not exist.

    Examples
    --------
    >>> [b[:3] for b in blocks({"a": Register(first=0, type="int32"), "b": Register(first=2),
    ...                         "c": Register(first=9)})]
    [('holding', 0, 3), ('holding', 9, 1)]
    """
    found: list[Block] = []
    for name, spec in sorted(registers.items(), key=lambda item: (item[1].table, item[1].first)):
        last = found[-1] if found else None
        end = spec.first + spec.words
        if (
            last
            and last.table == spec.table
            and spec.first <= last.register + last.words
            and end - last.register <= MOST_REGISTERS
        ):
            words = max(last.words, end - last.register)
            found[-1] = Block(last.table, last.register, words, (*last.names, name))
        else:
            found.append(Block(spec.table, spec.first, spec.words, (name,)))
    return found


class ModbusDriver(Polled[Options]):
    """Reads the registers of one device."""

    def __init__(self, device: str, options: Options, complaints: Complaints | None = None):
        _library()
        super().__init__(device, options, complaints)
        self._framing = options.framing or ("tcp" if options.tcp else "rtu")
        self._blocks = blocks(options.registers)
        self._transaction = 0

    def read(self, now_ms: int) -> Sequence[Reading]:
        """One reading of all registers that answer; DriverError if none does."""
        values: dict[str, float | str] = {}
        refused: RefusedError | None = None
        for block in tuple(self._blocks):
            try:
                self._take(block, self._ask(block), values)
            except RefusedError as error:
                refused = error
                if not self._refused(block, error, values):
                    break
        if not values:
            raise refused or DriverError("expected a value of at least one register, got none")
        return [Reading(now_ms, {name: values[name] for name in self.options.registers if name in values})]

    def _refused(self, block: Block, error: RefusedError, values: dict[str, float | str]) -> bool:
        """Read one by one what was refused together: one register that is not there spoils the block.

        False if the device takes no questions now: what has come stands, and the rest is not asked for.
        """
        if error.code in _NOT_OF_REGISTERS:
            self._asker.put_off()
            if values:
                self.complain("put off", error)
            return False
        if len(block.names) == 1:
            self.complain(f"{block.names[0]} refused", f"{block.names[0]}: {error}")
            return True
        parts = [Block(block.table, r.first, r.words, (n,)) for n, r in self._of(block)]
        self._blocks[self._blocks.index(block) : self._blocks.index(block) + 1] = parts
        for part in parts:
            try:
                self._take(part, self._ask(part), values)
            except RefusedError as single:
                if not self._refused(part, single, values):
                    return False
        return True

    def _of(self, block: Block) -> list[tuple[str, Register]]:
        return [(name, self.options.registers[name]) for name in block.names]

    def _ask(self, block: Block) -> list[int]:
        self._transaction = self._transaction % 0xFFFF + 1
        request = Request(
            self.options.meter, block.table, block.register, block.words, self._transaction, self._framing
        )
        answer = self._asker.ask(encode(request), lambda head: _length(self._framing, head))
        return decode(answer, request)

    def _take(self, block: Block, words: list[int], values: dict[str, float | str]) -> None:
        mixin = _library()[3]
        for name, spec in self._of(block):
            start = spec.first - block.register
            raw = mixin.convert_from_registers(
                words[start : start + spec.words], mixin.DATATYPE[spec.type.upper()], spec.word_order
            )
            try:
                values[name] = convert(name, spec, float(raw))
            except ValueError as error:
                self.complain(f"{name} implausible", f"{name}: {spec.table} {spec.first}: {error}")


def make(device: DeviceConfig, options: dict[str, Any]) -> ModbusDriver:
    """Make the driver from the table ``[device.modbus]``."""
    return ModbusDriver(device.id, checked(Options, options, "modbus"))
