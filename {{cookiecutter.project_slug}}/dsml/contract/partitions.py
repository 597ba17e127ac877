"""Partitions of time, or of a list, beside the experiments: what there is, and when each is.

The keys and windows are those of Dagster's partitions of time; a kernel works them out without it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from dsml.contract.problem import suggest

TIMED = ("hourly", "daily", "weekly", "monthly")
STATIC = "static"
DAY_FORMAT = "%Y-%m-%d"
HOUR_FORMAT = "%Y-%m-%d-%H%M"  # without a colon, which no file name on Windows may hold
HOUR = timedelta(hours=1)
LAST_YEAR = 9000  # of a date; beyond it arithmetic would leave the calendar
Window = tuple[datetime, datetime]

_SEPARATOR = "|"  # Dagster's, between the experiment and the partition
_SHOWN = 4  # names of a list in a message


def join_key(experiment: str, partition: str | None) -> str:
    """Dagster's key for an experiment, and a partition where there are any."""
    return experiment if partition is None else f"{experiment}{_SEPARATOR}{partition}"


def split_key(key: str) -> tuple[str, str | None]:
    """The experiment and the partition of a key of Dagster's."""
    experiment, separator, partition = key.partition(_SEPARATOR)
    return experiment, partition if separator else None


class _Partitions(ABC):
    """What a pipeline is run for piece by piece, beside its experiment; in an order."""

    kind: str

    @abstractmethod
    def count(self, now: datetime) -> int:
        """How many there are: of time only those that are over."""

    @abstractmethod
    def key(self, position: int) -> str:
        """The key at a position, from 0."""

    @abstractmethod
    def position(self, key: str) -> int | None:
        """Where a key stands, None for what is no key; of time it need not be over yet."""

    def has(self, key: str, now: datetime) -> bool:
        """Whether there is such a key, and its time is over."""
        position = self.position(key)
        return position is not None and position < self.count(now)

    def between(self, first: str | None, last: str | None, now: datetime) -> list[str]:
        """The keys from ``first`` to ``last``, both of which there are; by default all."""
        start = 0 if first is None else self.position(first)
        stop = self.count(now) - 1 if last is None else self.position(last)
        if start is None or stop is None:
            return []
        return [self.key(position) for position in range(start, stop + 1)]


@dataclass(frozen=True)
class StaticPartitions(_Partitions):
    """A list of names; the first is the default."""

    keys: tuple[str, ...]
    kind: str = STATIC

    def count(self, now: datetime) -> int:  # noqa: ARG002 - a list is the same at all times
        """How many names there are."""
        return len(self.keys)

    def key(self, position: int) -> str:
        """The name at a position, from 0."""
        return self.keys[position]

    def position(self, key: str) -> int | None:
        """Where a name stands, None for what is none."""
        return self.keys.index(key) if key in self.keys else None

    def window(self, key: str) -> None:
        """None, since a name has no time."""

    def default(self, now: datetime) -> str:  # noqa: ARG002
        """The first name."""
        return self.keys[0]

    def advice(self, key: str, now: datetime) -> str:  # noqa: ARG002
        """The nearest name."""
        return suggest(key, self.keys)

    def __str__(self) -> str:
        return f"the list {', '.join(self.keys[:_SHOWN])}{', ...' * (len(self.keys) > _SHOWN)}"


@dataclass(frozen=True)
class TimePartitions(_Partitions):
    """Hours, days, weeks or months from ``start`` on, until ``end`` where that is given.

    Weeks and months begin on the day of the week and of the month that ``start`` is. Hours are
    those of the clock in ``timezone``: when it is set back, there is one more of them.
    """

    kind: str
    start: date
    timezone: str = "UTC"
    end: date | None = None

    @property
    def format(self) -> str:
        """The key's form, in the words of ``strftime``."""
        return HOUR_FORMAT if self.kind == "hourly" else DAY_FORMAT

    def count(self, now: datetime) -> int:
        """How many are over at a time."""
        over = self._over(now)
        if self.end is not None:
            over = min(over, self._over(self._midnight(self.end + timedelta(days=1))))
        return max(over, 0)

    def key(self, position: int) -> str:
        """The key at a position, from 0: when the partition begins."""
        moment = self._moment(position)
        # the offset tells the second of two hours that the clock shows alike
        return moment.strftime(self.format + ("%z" if self._is_second(moment) else ""))

    def position(self, key: str) -> int | None:
        """Where a key stands, None for what is none; it need not be over yet."""
        moment = self._parse(key)
        position = None if moment is None else self._over(moment)
        if position is None or position < 0 or self.key(position) != key:
            return None
        if self.end is not None and position >= self.count(self._moment(position + 1)):
            return None
        return position

    def window(self, key: str) -> Window | None:
        """When a partition begins and ends, in the time zone; None for what is no key."""
        position = self.position(key)
        if position is None:
            return None
        return self._moment(position), self._moment(position + 1)

    def default(self, now: datetime) -> str | None:
        """The newest that is over, None where there is none yet."""
        count = self.count(now)
        return self.key(count - 1) if count else None

    def advice(self, key: str, now: datetime) -> str:
        """What is there in the place of a key that isn't."""
        count = self.count(now)
        if not count:
            over = self._moment(1).isoformat(" ", "minutes")
            return f"there is none yet: the first, '{self.key(0)}', is over at {over}"
        moment = self._parse(key)
        position = -1 if moment is None else self._over(moment)
        if 0 <= position < count:
            return f"did you mean '{self.key(position)}'?"
        return f"they go from '{self.key(0)}' to '{self.key(count - 1)}'"

    def __str__(self) -> str:
        zone = "" if self.timezone == "UTC" else f" in {self.timezone}"
        return f"{self.kind} from {self.start}{f' to {self.end}' if self.end else ''}{zone}"

    @property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    def _midnight(self, day: date) -> datetime:
        """When a day begins; by way of UTC, since there are days that begin at one o'clock."""
        return datetime.combine(day, time(), self._zone).astimezone(UTC).astimezone(self._zone)

    def _moment(self, position: int) -> datetime:
        """When the partition at a position begins."""
        if self.kind == "hourly":
            first = self._midnight(self.start).astimezone(UTC)
            return (first + position * HOUR).astimezone(self._zone)
        if self.kind == "monthly":
            years, month = divmod(self.start.month - 1 + position, 12)
            return self._midnight(self.start.replace(self.start.year + years, month + 1))
        days = position * (7 if self.kind == "weekly" else 1)
        return self._midnight(self.start + timedelta(days=days))

    def _over(self, moment: datetime) -> int:
        """How many are over at a moment; negative before the first begins."""
        if self.kind == "hourly":
            return (moment.astimezone(UTC) - self._moment(0).astimezone(UTC)) // HOUR
        day = moment.astimezone(self._zone).date()
        if self.kind == "monthly":
            months = (day.year - self.start.year) * 12 + day.month - self.start.month
            return months - (day.day < self.start.day)
        return (day - self.start).days // (7 if self.kind == "weekly" else 1)

    def _is_second(self, moment: datetime) -> bool:
        first = moment.replace(fold=0)
        return self.kind == "hourly" and first.utcoffset() != moment.utcoffset()

    def _parse(self, key: str) -> datetime | None:
        """The moment that a text names, be it the beginning of a partition or not."""
        for form in (self.format, f"{self.format}%z"):
            try:
                moment = datetime.strptime(key, form)  # noqa: DTZ007 - the zone follows
            except ValueError:
                continue
            if moment.year <= LAST_YEAR:
                return moment if moment.tzinfo else moment.replace(tzinfo=self._zone)
        return None


Partitions = StaticPartitions | TimePartitions


def iso_window(partitions: Partitions | None, key: str | None) -> tuple[str, str] | None:
    """When a partition begins and ends, in ISO 8601; None where that is no question of time."""
    window = None if partitions is None or key is None else partitions.window(key)
    return None if window is None else (window[0].isoformat(), window[1].isoformat())
