"""Aligning vision and language: the library behind the course.

Nothing is imported here: ``import vlalign_lib`` costs nothing, and each subpackage
(``data``, ``linear``, ``metrics``, ``models``, …) is imported by the name it is used under.
"""

__version__ = "0.1.0"
