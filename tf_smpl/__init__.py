"""The FLAME layer for TensorFlow; copy this folder to use it elsewhere."""
