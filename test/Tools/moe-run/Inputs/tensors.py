"""Writes inputs and expected outputs for the artifact of make-test-artifact."""
import sys

import numpy as np

folder = sys.argv[1]
x = np.arange(40, dtype=np.float32).reshape(10, 4) % 5
scale = np.array([15, 30, 40, 42.5], np.float32)  # bias and five experts
y = x * scale
np.save(folder + "/x.npy", x)
np.save(folder + "/x16.npy", x.astype(np.float16))
np.save(folder + "/xint.npy", x.astype(np.int32))
np.save(folder + "/wide.npy", np.zeros((10, 5), np.float32))
np.save(folder + "/empty.npy", x[:0])
np.save(folder + "/y.npy", y)
np.save(folder + "/y64.npy", y.astype(np.float64))
y[3, 1] += 1
y[9, 3] = np.nan
np.save(folder + "/wrong.npy", y)
x[9, 3] = np.nan
np.save(folder + "/xnan.npy", x)
y[3, 1] -= 1
np.save(folder + "/ynan.npy", y)
np.save(folder + "/bad-id.npy", np.full((3, 4), 7, np.float32))
