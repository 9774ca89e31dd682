"""A web service: photographs in, valence and arousal of every face out.

Start it with `pip install 'idfer[serve]' && fastapi run serve.py`, then ask it with
`curl -F photo=@me.jpg localhost:8000/predict`. Each request has a thread of its own; the model is shared.
"""

import os

import numpy as np
from fastapi import FastAPI, Response, UploadFile

import idfer

model = idfer.load(os.environ.get("IDFER_MODEL", "synthetic-tiny"))
model(np.zeros((480, 480, 3), np.uint8))  # warm-up: the first call loads the detector
app = FastAPI()


@app.post("/predict")
def predict(photo: UploadFile) -> Response:
    """The rows of the photograph's faces as JSON; 422 where it is no image."""
    faces = model(photo.file)
    wrong = len(faces) == 1 and next(iter(faces))["detector"] is None
    return Response(faces.to_json(), 422 if wrong else 200, media_type="application/json")
