"""The one error of this package, under the name by which those outside it import it."""

from devices.base.errors import DeviceError as DeviceError
