# Compiler and linker flags shared by every target.
add_compile_options(-Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wno-sign-conversion
  -Wimplicit-fallthrough -Wthread-safety -Wno-gnu-statement-expression -Wno-gnu-label-as-value -Wno-c99-extensions
  -fno-exceptions -fno-rtti -fno-plt -fstack-protector-strong -mno-red-zone)
add_link_options(-fuse-ld=lld)
add_compile_definitions(_FILE_OFFSET_BITS=64)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_options(-g1)
endif()
if(DOPPEL_SANITIZE)
  add_compile_options(-fsanitize=${DOPPEL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${DOPPEL_SANITIZE})
endif()
if(DOPPEL_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
