"""The liquid in the vial: what the unit counts, and what a person says is really in it."""

from __future__ import annotations

from typing import Any

import falcon
from marshmallow import ValidationError, fields, validates_schema

from reactor_unit.resources.bodies import BaseSchema, load
from reactor_unit.strict_json import dumps
from reactor_unit.vial import Vial, VialState


class PutVialRequest(BaseSchema):
    """The body that says what is in the vial; what is left out stays."""

    current_volume_ml = fields.Float()
    max_working_volume_ml = fields.Float()
    alt_media_fraction = fields.Float()

    @validates_schema
    def _says_something(self, data: dict[str, Any], **kwargs: Any) -> None:
        if not data:
            raise ValidationError(f"At least one of {', '.join(self.fields)} must be given")


PUT_VIAL_REQUEST = PutVialRequest()


class VialAccount:
    """Look at the vial's account, and correct it: `GET` and `PUT /unit_api/vial`."""

    def __init__(self, vial: Vial) -> None:
        self._vial = vial

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with volumes in ml; the current one is the most that there may be, with what pumps move now."""
        resp.data = dumps(self._shown(self._vial.look()))

    def on_put(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Write down what a person says, and answer with it. A Conflict while a pump runs."""
        resp.data = dumps(self._shown(self._vial.put(**load(req, PUT_VIAL_REQUEST, required=True))))

    def _shown(self, state: VialState) -> dict[str, Any]:
        return {
            "current_volume_ml": state.volume_ml,
            "max_working_volume_ml": state.working_ml,
            "maximum_volume_ml": self._vial.maximum_volume_ml,
            "alt_media_fraction": state.alt_media_fraction,
            "in_flight": [{"pump": run.role, "at_most_ml": round(run.at_most_ml, 3)} for run in state.runs],
            "experiment": state.experiment,
            "media_throughput": state.media_throughput,
            "alt_media_throughput": state.alt_media_throughput,
        }
