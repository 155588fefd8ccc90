set(fuzz_registry_LIBS registry)
