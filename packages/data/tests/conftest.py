from hypothesis import settings

settings.register_profile("vision-r1", deadline=None, derandomize=True)
settings.load_profile("vision-r1")
