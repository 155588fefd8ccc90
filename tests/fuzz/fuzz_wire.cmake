set(fuzz_wire_LIBS svcproto_core)
