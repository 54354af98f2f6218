import importlib
import os
import sys

# The folder of the tests comes first, so that a folder of the source tree never hides the installed package.
sys.path.insert(0, os.path.dirname(__file__))

# The gate names what it has installed: a test that is skipped because it is absent is an error there.
for package in os.environ.get("NOISEFIND_REQUIRE", "").split():
    importlib.import_module(package)
