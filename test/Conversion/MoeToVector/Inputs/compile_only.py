"""Compiles a module for a CPU and leaves its assembly: compile_only.py MODULE FOLDER CPU."""

import sys

from compiled import Module

with open(sys.argv[1]) as file:
    Module(file.read(), sys.argv[2], cpu=sys.argv[3], load=False)
