set(fuzz_c2s_SOURCES ${CMAKE_CURRENT_LIST_DIR}/stream_owner.c ${CMAKE_CURRENT_LIST_DIR}/stream_acts.c)
set(fuzz_c2s_LIBS gw_stream)
