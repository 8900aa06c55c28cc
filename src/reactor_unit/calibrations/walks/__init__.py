"""The protocols that every unit has; importing this package registers them."""

from reactor_unit.calibrations.walks import fused_offset, fused_standards, od_standards, pump, stirring

__all__ = ["fused_offset", "fused_standards", "od_standards", "pump", "stirring"]
