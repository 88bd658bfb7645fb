"""Settings for all tests."""

import os

# scikit-learn skips its array API check without this, and SciPy reads it when it is imported
os.environ["SCIPY_ARRAY_API"] = "1"
