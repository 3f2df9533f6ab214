"""The types of the configuration's values, by the names that the schema uses. Knows pydantic, and no key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from sender.model import Node as _Node
from sender.model import TcpState
from sender.settings import values


class Frozen(BaseModel):
    """Settings: what they are made from is taken strictly, and they do not change."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_LIST = Field(strict=False)  # a YAML list is to become a tuple; what is in it is still taken strictly
_FILLED = AfterValidator(values.filled)
_ONCE_EACH = AfterValidator(values.once_each)
_PRINTABLE = AfterValidator(values.printable)

HostName: TypeAlias = Annotated[str, AfterValidator(values.host_name)]
Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=64), _PRINTABLE]
Metadata: TypeAlias = Annotated[str, Field(min_length=1, max_length=255), _PRINTABLE]  # what every version takes
Identity: TypeAlias = Annotated[str, Field(min_length=1, max_length=128), _PRINTABLE]
DistinguishedName: TypeAlias = Annotated[str, Field(min_length=1, max_length=1024)]
KeyFile: TypeAlias = Annotated[Path, BeforeValidator(values.key_file)]
AbsolutePath: TypeAlias = Annotated[Path | None, BeforeValidator(values.absolute)]  # can be left out, not left empty
SpoolPath: TypeAlias = Annotated[
    str, Field(min_length=1, max_length=4000), _PRINTABLE, AfterValidator(values.spool_path)
]
Node: TypeAlias = Annotated[_Node, BeforeValidator(_Node.parse)]
NodeList: TypeAlias = Annotated[tuple[Node, ...], _LIST, _FILLED]
Address: TypeAlias = Annotated[str, BeforeValidator(values.address)]
Interval: TypeAlias = Annotated[int, BeforeValidator(values.duration_between("1s", "1h"))]
Timeout: TypeAlias = Annotated[int, BeforeValidator(values.duration_between("1s", "1m"))]
MaxAge: TypeAlias = Annotated[int, BeforeValidator(values.duration_between("1m", "365d"))]
KeepRejected: TypeAlias = Annotated[int, BeforeValidator(values.duration_between("0s", "7d"))]
Size: TypeAlias = Annotated[int, BeforeValidator(values.size)]
Port: TypeAlias = Annotated[int, BeforeValidator(values.port)]
PortList: TypeAlias = Annotated[tuple[Port, ...], _LIST, _ONCE_EACH]
PortRange: TypeAlias = Annotated[tuple[int, int], BeforeValidator(values.port_range)]
PortRangeList: TypeAlias = Annotated[tuple[PortRange, ...], _LIST]
EphemeralAfter: TypeAlias = Annotated[int, BeforeValidator(values.duration_between("0s", "7d"))]
NewPerDay: TypeAlias = Annotated[int, BeforeValidator(values.new_per_day)]
Limit: TypeAlias = Annotated[int, BeforeValidator(values.limit)]
PatternList: TypeAlias = Annotated[tuple[Annotated[str, Field(min_length=1, max_length=255), _PRINTABLE], ...], _LIST]
State: TypeAlias = Annotated[TcpState, BeforeValidator(values.state)]
StateList: TypeAlias = Annotated[tuple[State, ...], _LIST, _FILLED, _ONCE_EACH]
