"""What an InfluxDB 2 needs before anything is written to it: buckets, retention, hourly figures, tokens.

Every call may be repeated: what is there is brought to what was asked for, and nothing of it is deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import influxdb_client
import urllib3
from influxdb_client.rest import ApiException

from store.downsampling import Task
from store.influx_http import refusal_of
from store.protocol import StoreError, StoreUnavailableError

__all__ = ["Bucket", "InfluxAdmin"]

_INFLUX: Final[Any] = influxdb_client  # only half typed, and its types are not all true
_MOST: Final = 100  # what one page of a list holds at most


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and how long it keeps what it is given; 0 is for ever. [s]"""

    name: str
    retention_s: int


class InfluxAdmin:
    """An InfluxDB 2, by a token that may change it.

    Parameters
    ----------
    url, org, token : str
    timeout_s : float
        Of one request.

    Raises
    ------
    StoreError
        The server refuses; says what to do. StoreUnavailableError where it does not answer.
    """

    def __init__(self, url: str, org: str, token: str, timeout_s: float = 20.0) -> None:
        parts = urlsplit(url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.org = org
        self._client = _INFLUX.InfluxDBClient(
            url, token, org=org, timeout=int(timeout_s * 1000), retries=False
        )

    def prepare(self, buckets: Iterable[Bucket], tasks: Iterable[Task]) -> dict[str, str]:
        """Make buckets and tasks, or bring them to what they are to be; what was done, by name."""
        org = self._org_id()
        done = {}
        for bucket in buckets:
            done[f"bucket {bucket.name}"] = self._bucket(bucket, org)
        for task in tasks:
            done[f"task {task.name}"] = self._task(task, org)
        return done

    def token(self, description: str, reads: Sequence[str], writes: Sequence[str]) -> str:
        """A new token that may read and write some buckets and nothing else."""
        org = self._org_id()
        permissions = [
            _INFLUX.Permission(
                action=action,
                resource=_INFLUX.PermissionResource(type="buckets", id=self._id(name), org_id=org),
            )
            for action, names in (("read", reads), ("write", writes))
            for name in names
        ]
        wanted = _INFLUX.Authorization(org_id=org, permissions=permissions, description=description)
        made = self._ask(lambda: self._client.authorizations_api().create_authorization(authorization=wanted))
        return str(made.token)

    def buckets(self) -> Mapping[str, int]:
        """Buckets that are there, with what they keep; 0 is for ever. [s]"""
        found = self._ask(lambda: self._client.buckets_api().find_buckets(org=self.org, limit=_MOST))
        return {b.name: _retention_s(b) for b in found.buckets}

    def close(self) -> None:
        """Release connections."""
        self._client.close()

    def _org_id(self) -> str:
        found = self._ask(lambda: self._client.organizations_api().find_organizations(org=self.org))
        if not found:
            msg = (
                f"{self.where}: expected the organization {self.org!r}, got none of that name that the token "
                "may see: set influx_org, or make it with `influx org create`"
            )
            raise StoreError(msg)
        return str(found[0].id)

    def _find(self, name: str) -> Any:
        found = self._ask(lambda: self._client.buckets_api().find_buckets(org=self.org, name=name))
        return next((b for b in found.buckets if b.name == name), None)

    def _id(self, name: str) -> str:
        found = self._find(name)
        if found is None:
            raise StoreError(
                f"{self.where}: expected the bucket {name!r}, got none: hearthline store prepare"
            )
        return str(found.id)

    def _bucket(self, wanted: Bucket, org: str) -> str:
        rules = [_INFLUX.BucketRetentionRules(type="expire", every_seconds=wanted.retention_s)]
        found = self._find(wanted.name)
        if found is None:
            self._ask(
                lambda: self._client.buckets_api().create_bucket(
                    bucket_name=wanted.name, org=org, retention_rules=rules
                )
            )
            return "made"
        if _retention_s(found) == wanted.retention_s:
            return "there"
        found.retention_rules = rules
        self._ask(lambda: self._client.buckets_api().update_bucket(found))
        return "retention changed"

    def _task(self, wanted: Task, org: str) -> str:
        found = self._ask(lambda: self._client.tasks_api().find_tasks(name=wanted.name, org=self.org))
        same = next((t for t in found if t.name == wanted.name), None)
        if same is None:
            request = _INFLUX.TaskCreateRequest(org_id=org, flux=wanted.script, status="active")
            self._ask(lambda: self._client.tasks_api().create_task(task_create_request=request))
            return "made"
        if same.flux == wanted.script:
            return "there"
        task = _INFLUX.Task(id=same.id, org_id=org, flux=wanted.script, status=same.status, name=wanted.name)
        self._ask(lambda: self._client.tasks_api().update_task(task))
        return "changed"

    def _ask(self, call: Any) -> Any:
        try:
            return call()
        except ApiException as error:
            if error.status == 429 or (error.status or 0) >= 500:
                raise StoreUnavailableError(f"{self.where}: not available: HTTP {error.status}") from error
            raise StoreError(f"{self.where}: {refusal_of(error)}") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise StoreUnavailableError(
                f"{self.where}: not available: {type(error).__name__}: {error}"
            ) from error


def _retention_s(bucket: Any) -> int:
    return next((rule.every_seconds for rule in bucket.retention_rules or [] if rule.type == "expire"), 0)
