"""What must survive: tables, migrations and the stores over them. The only SQL of the product."""

from gateway.devices.model import DeviceFilter
from gateway.store.audit import AuditFilter
from gateway.store.channels import ChannelUpdate
from gateway.store.credentials import CredentialFilter
from gateway.store.device_batches import DeviceInfo
from gateway.store.devices import NewDevices
from gateway.store.push_keys import PushKeyFilter
from gateway.store.secrets import SecretBox, SecretError
from gateway.store.slices import SliceFilter
from gateway.store.store import Store
from gateway.store.streams import StreamFilter, StreamQuotas

__all__ = [
    "AuditFilter",
    "ChannelUpdate",
    "CredentialFilter",
    "DeviceFilter",
    "DeviceInfo",
    "NewDevices",
    "PushKeyFilter",
    "SecretBox",
    "SecretError",
    "SliceFilter",
    "Store",
    "StreamFilter",
    "StreamQuotas",
]
