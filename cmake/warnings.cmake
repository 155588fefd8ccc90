# The INTERFACE target that every target of ours links: language level, warnings, hardening, sanitizers.
add_library(warnings INTERFACE)
target_compile_features(warnings INTERFACE c_std_17)
target_compile_definitions(warnings INTERFACE _GNU_SOURCE)
target_compile_options(warnings INTERFACE $<$<BOOL:${AMBROSIA_FUZZ}>:-fsanitize=fuzzer-no-link>)
target_compile_options(warnings INTERFACE
  -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wvla -Wformat=2
  -Wundef -Wwrite-strings -Wimplicit-fallthrough -fno-common -fstack-protector-strong)
if(AMBROSIA_WERROR)
  target_compile_options(warnings INTERFACE -Werror)
endif()
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  target_compile_definitions(warnings INTERFACE _FORTIFY_SOURCE=2)
endif()
if(AMBROSIA_SANITIZE)
  target_compile_options(warnings INTERFACE -fsanitize=${AMBROSIA_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(warnings INTERFACE -fsanitize=${AMBROSIA_SANITIZE})
endif()
