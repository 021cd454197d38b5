"""The objectives of the course: functions first, with a thin module around each."""

__all__: list[str] = []
