"""Package `reactor_unit`, put together from the four folders of this repository."""

import pathlib
import re

from setuptools import setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+?)"', (HERE / "src/reactor_unit/__init__.py").read_text()).group(1)

FOLDERS = {
    "reactor_unit": "src/reactor_unit",
    "reactor_unit.calibrations": "src/reactor_unit/calibrations",
    "reactor_unit.calibrations.walks": "src/reactor_unit/calibrations/walks",
    "reactor_unit.client": "src/reactor_unit/client",
    "reactor_unit.openapi": "src/reactor_unit/openapi",
    "reactor_unit.resources": "resources",
    "reactor_unit.workers": "workers",
    "reactor_unit.workers.jobs": "workers/jobs",
    "reactor_unit.workers.laws": "workers/laws",
    "reactor_unit.workers.self_tests": "workers/self_tests",
    "reactor_unit.drivers": "drivers",
    "reactor_unit.drivers.checks": "drivers/checks",
    "reactor_unit.drivers.simulation": "drivers/simulation",
}

TEST = [
    "apispec>=6.6",
    "hypothesis>=6.100",
    "jsonschema>=4.20",
    "numpy>=1.26",
    "openapi-spec-validator>=0.7.1",
    "prometheus_client>=0.20",
    "psutil>=5.9",
    "pytest>=8",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.5",
    "schemathesis>=4.0,<5",
    "scipy>=1.12",
]

setup(
    name="reactor-unit",
    version=VERSION,
    description="One HTTP API for one small bioreactor, light enough for a Raspberry Pi with 512 MB.",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=list(FOLDERS),
    package_dir=FOLDERS,
    package_data={
        "reactor_unit": ["py.typed", "default_config.ini"],
        "reactor_unit.drivers": ["data/*.yaml"],
        "reactor_unit.openapi": ["docs.html", "openapi.json"],
    },
    install_requires=[
        "click>=8.1",
        "diskcache>=5.6.3,<6",
        "falcon>=4,<5",
        "httpx>=0.27",
        "marshmallow>=4.1.2,<5",
        "pyyaml>=6",
        "waitress>=3.0.1,<4",
    ],
    extras_require={
        "pi": ["RPi.GPIO>=0.7.1", "smbus2>=0.4"],
        "lgpio": ["rpi-lgpio>=0.6", "smbus2>=0.4"],
        "test": TEST,
        "dev": [*TEST, "build>=1", "import-linter>=2", "mypy>=1.13", "ruff>=0.8", "tox>=4", "types-PyYAML"],
    },
    entry_points={
        "console_scripts": ["reactor-unit = reactor_unit.__main__:main"],
        "pytest11": ["reactor_unit = reactor_unit.testing"],
    },
    classifiers=[
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
    ],
)
