"""Import time, in new processes."""


def timeraw_sklearn():
    return "import sklearn"


def timeraw_skconvnet_after_sklearn():
    return "import skconvnet", "import sklearn"
