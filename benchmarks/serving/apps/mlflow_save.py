"""Saves the trees as an MLflow model, with or without a signature. `mlflow_save.py MODEL FOLDER plain|signed`."""

import sys

import lightgbm
import mlflow.lightgbm
import numpy as np
import pandas as pd
from mlflow.models import infer_signature

booster = lightgbm.Booster(model_file=sys.argv[1])
rows = pd.DataFrame(np.zeros((2, booster.num_feature())), columns=booster.feature_name())
signature = infer_signature(rows, booster.predict(rows)) if sys.argv[3] == "signed" else None
mlflow.lightgbm.save_model(booster, sys.argv[2], signature=signature, pip_requirements=["lightgbm"])
