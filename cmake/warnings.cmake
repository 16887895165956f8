# SPDX-License-Identifier: Apache-2.0
# Every warning with its reason. Errors only in CI (-DCF_WERROR=ON): a newer compiler must not break a user's build.
set(CF_WARNINGS
    -Wall -Wextra -Wpedantic         # the common set
    -Wconversion -Wsign-conversion   # sizes and offsets from files and servers lose no bits silently
    -Wcast-qual -Wcast-align         # const stays const; records are read byte by byte
    -Wshadow                         # one name, one thing
    -Wstrict-prototypes -Wmissing-prototypes -Wredundant-decls # every function is declared once, in its header
    -Wformat=2                       # messages carry names from outside
    -Wvla                            # no stack size from outside
    -Wwrite-strings -Wundef -Wdouble-promotion -Wnull-dereference -Wswitch-enum -Wpointer-arith -Winit-self
    -Wno-gnu-statement-expression    # CF_STEAL
)
if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    list(APPEND CF_WARNINGS
        -Wduplicated-cond -Wduplicated-branches -Wlogical-op # slips of copying
        -Wformat-overflow=2)
    list(REMOVE_ITEM CF_WARNINGS -Wno-gnu-statement-expression)
    list(APPEND CF_WARNINGS -Wno-pedantic) # gcc -Wpedantic refuses __extension__-less cleanup macros in conditions
    if(NOT CMAKE_BUILD_TYPE STREQUAL "Debug")
        list(REMOVE_ITEM CF_WARNINGS -Wnull-dereference) # false positives after inlining
    endif()
else()
    list(APPEND CF_WARNINGS -Wmissing-variable-declarations) # no hidden globals
endif()
# C++ only compiles the header checks.
list(TRANSFORM CF_WARNINGS REPLACE "^(-W.*)$" "$<$<COMPILE_LANGUAGE:C>:\\1>")

if(CF_WERROR)
    list(APPEND CF_WARNINGS -Werror)
endif()

set(CF_HARDENING -fstack-protector-strong)
if(CMAKE_BUILD_TYPE STREQUAL "Release" AND NOT CF_SANITIZE)
    list(APPEND CF_HARDENING -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
endif()
set(CF_LINK_HARDENING -Wl,-z,relro,-z,now)

if(CF_SANITIZE)
    list(APPEND CF_HARDENING -fsanitize=${CF_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    list(APPEND CF_LINK_HARDENING -fsanitize=${CF_SANITIZE})
endif()

if(CF_FUZZ)
    list(APPEND CF_HARDENING -fsanitize=fuzzer-no-link) # coverage of our own code guides the fuzzer
endif()
