import importlib
import os
import sys

# The folder of the tests comes first, so that a folder of the source tree never hides the installed package.
tests = os.path.dirname(__file__)
sys.path.insert(0, tests)

# Ray reads these once, while it is imported; its workers import fake_pipeline.
os.environ |= {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0" * 64,
    # By default workers give way to everything else, so that a busy machine looks like one whose workers died.
    "RAY_worker_niceness": "0",
    "PYTHONPATH": os.pathsep.join(filter(None, [tests, os.environ.get("PYTHONPATH")])),
}

# The gate names what it has installed: a test that is skipped because it is absent is an error there.
for package in os.environ.get("NOISEFIND_REQUIRE", "").split():
    importlib.import_module(package)
