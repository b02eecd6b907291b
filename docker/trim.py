"""Take out of the gateway's environment what it never uses; compile what it does.

Run once by the Dockerfile, with the environment's own Python. What is named here was looked up in
the packages; what is not there any more is an error, so that the list cannot rot.
"""

from __future__ import annotations

import compileall
import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

SITE = Path(sysconfig.get_paths()["purelib"])
# What LiteLLM asks AWS for: Bedrock, SageMaker, S3, keys and secrets. botocore describes 440 more.
AWS = ("bedrock*", "sagemaker-runtime*", "sts", "s3", "kms", "secretsmanager", "iam", "rds",
       "dynamodb", "sqs", "opensearchserverless")  # fmt: skip
UNUSED = (
    # The admin pages: they need LiteLLM's database, whose client (prisma) is not installed.
    "litellm/proxy/_experimental/out",
    # Test suites inside packages.
    "regex/tests", "referencing/tests", "jsonschema/tests", "jsonschema_specifications/tests",
    "fsspec/tests",
)  # fmt: skip
# Started once, so that exactly what it imports is compiled: half of LiteLLM is never imported, and
# without bytecode it starts in 13 s instead of 5 s.
# As local_ai_suite.gateway.litellm_app does it.
IMPORTS = """
import json, sys, types
sys.modules["litellm.integrations.otel.logger"] = None
sys.modules["soundfile"] = types.ModuleType("soundfile")
import litellm.proxy.proxy_server
"""
LIST = "print(json.dumps([getattr(m, '__file__', None) for m in list(sys.modules.values())]))"


def main() -> None:
    for name in UNUSED:
        shutil.rmtree(SITE / name)
    data = SITE / "botocore" / "data"
    kept = {path for pattern in AWS for path in data.glob(pattern)}
    for path in data.iterdir():
        if path.is_dir() and path not in kept:
            shutil.rmtree(path)
    done = subprocess.run(
        [sys.executable, "-B", "-c", IMPORTS + LIST],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"},  # it would download a list
    )
    files = [file for file in json.loads(done.stdout.splitlines()[-1]) if file]
    for file in files:
        if file.endswith(".py") and Path(file).is_relative_to(SITE):
            compileall.compile_file(file, quiet=1)


if __name__ == "__main__":
    main()
