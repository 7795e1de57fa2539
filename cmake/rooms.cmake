# A room is a static library made of every .cpp in its folder; its tests are one program made of every
# tests/<room>/*_test.cpp. Which room may include which is checked by scripts/check_layers.sh (docs/decisions/0001).

# Settings shared by everything that is compiled here.
add_library(nll_settings INTERFACE)
target_include_directories(nll_settings INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_features(nll_settings INTERFACE cxx_std_20)
# Off: g++ 12 warns of std::string concatenations that are right (GCC bug 105651); clang warns of CHECK(a >= b), which
# reads (start << a) >= b on purpose.
# -Wshadow takes another file's constant for one of this file where several are compiled as one.
set(nll_compile_options -Wall -Wextra -Wpedantic -Werror $<$<NOT:$<BOOL:$<TARGET_PROPERTY:UNITY_BUILD>>>:-Wshadow>
                        $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
                        $<$<CXX_COMPILER_ID:Clang>:-Wno-overloaded-shift-op-parentheses>
                        -fno-math-errno -ffp-contract=off)
target_compile_options(nll_settings INTERFACE "$<$<COMPILE_LANGUAGE:C,CXX>:${nll_compile_options}>")
# A target with the property NLL_LITTLE_OPTIMISED has no loop that takes time: optimising it would only take time.
set(little_optimised $<BOOL:$<TARGET_PROPERTY:NLL_LITTLE_OPTIMISED>>)
if(NLL_SANITIZE)
  target_compile_options(nll_settings INTERFACE -fsanitize=${NLL_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer
                                                $<IF:${little_optimised},-O0,-O1> -g1)
  if(NLL_SANITIZE MATCHES undefined)
    # Checked at every access they double the time of a build; AddressSanitizer and the processor notice most of these.
    target_compile_options(nll_settings INTERFACE -fno-sanitize=null,alignment,object-size,vptr)
  endif()
  target_link_options(nll_settings INTERFACE -fsanitize=${NLL_SANITIZE})
elseif(CMAKE_BUILD_TYPE STREQUAL Release)
  target_compile_options(nll_settings INTERFACE $<$<AND:${little_optimised},$<COMPILE_LANGUAGE:CXX>>:-O1>)
endif()

# Headers that many files of a target include, compiled once: a fifth less time for a sanitizer build. With them a file
# compiles that forgot an #include, so the other builds do without.
option(NLL_PRECOMPILE "Precompile headers that many files include" OFF)

# What ccache asks for where headers are precompiled.
function(nll_cache_precompiled target)
  if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # g++ 12 then warns of copies of strings inside the standard library, which are right.
    target_compile_options(${target} PRIVATE -fpch-preprocess -Wno-array-bounds -Wno-stringop-overflow)
  endif()
  if(CCACHE)
    set(sloppiness CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime)
    set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND};-E;env;${sloppiness};${CCACHE}")
  endif()
endfunction()

function(nll_precompile_test target)
  if(NOT NLL_PRECOMPILE)
    return()
  endif()
  if(NOT TARGET nll_precompiled_test)
    file(CONFIGURE OUTPUT ${PROJECT_BINARY_DIR}/precompiled_test.cpp CONTENT "")
    add_library(nll_precompiled_test OBJECT ${PROJECT_BINARY_DIR}/precompiled_test.cpp)
    target_link_libraries(nll_precompiled_test PRIVATE nll_settings GTest::gtest)
    set_target_properties(nll_precompiled_test PROPERTIES NLL_LITTLE_OPTIMISED ON)
    target_precompile_headers(nll_precompiled_test PRIVATE <gtest/gtest.h> <algorithm> <filesystem> <functional>)
    nll_cache_precompiled(nll_precompiled_test)
  endif()
  target_precompile_headers(${target} REUSE_FROM nll_precompiled_test)
  nll_cache_precompiled(${target})
endfunction()

# Several files of a room at a time, for the time of a sanitizer build; the preset cpu compiles every file alone.
function(nll_compile_together target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 12)
  # g++ warns of types in unnamed namespaces of files that a file of CMake's includes, as if they were headers.
  target_compile_options(${target} PRIVATE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Wno-subobject-linkage>)
endfunction()

# nll_room(NAME folder [EXCEPT file...] [USES room... library...])
function(nll_room name folder)
  cmake_parse_arguments(ROOM "" "" "EXCEPT;USES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.cpp)
  foreach(file IN LISTS ROOM_EXCEPT)
    list(REMOVE_ITEM sources ${PROJECT_SOURCE_DIR}/${folder}/${file})
  endforeach()
  if(NOT sources)
    return()
  endif()
  add_library(nll_${name} STATIC ${sources})
  target_link_libraries(nll_${name} PUBLIC nll_settings ${ROOM_USES})
  if(NLL_SANITIZE)
    nll_compile_together(nll_${name})
  endif()
endfunction()

# nll_embed(TARGET header name file...): files of the checkout as texts of the program, the C strings `name` that `header`
# declares. They are read again when they change.
function(nll_embed target header)
  if(NOT TARGET ${target})
    return()
  endif()
  set(source "#include \"${header}\"\n\nnamespace nll {\n")
  while(ARGN)
    list(POP_FRONT ARGN name file)
    file(READ ${PROJECT_SOURCE_DIR}/${file} text)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${file})
    string(APPEND source "\nconst char* const ${name} = R\"embedded(${text})embedded\";\n")
  endwhile()
  string(APPEND source "\n}  // namespace nll\n")
  set(generated ${PROJECT_BINARY_DIR}/embedded/${target}.cpp)
  file(CONFIGURE OUTPUT ${generated} CONTENT "${source}" @ONLY)
  target_sources(${target} PRIVATE ${generated})
endfunction()

# nll_room_test(NAME [USES ...]): tests/<name>/*_test.cpp (and helpers beside them) against the room of that name.
function(nll_room_test name)
  cmake_parse_arguments(TEST "" "" "USES" ${ARGN})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${name}/*.cpp)
  if(NOT sources OR (NLL_TEST_ROOMS AND NOT name IN_LIST NLL_TEST_ROOMS))
    return()
  endif()
  add_executable(test_${name} ${sources})
  add_dependencies(room_tests test_${name})
  target_link_libraries(test_${name} PRIVATE nll_settings ${TEST_USES} GTest::gtest_main)
  if(NOT name MATCHES "^(cuda|kernels)")  # what those check takes time
    set_target_properties(test_${name} PROPERTIES NLL_LITTLE_OPTIMISED ON)
    nll_precompile_test(test_${name})
  endif()
  target_compile_definitions(test_${name} PRIVATE NLL_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  if(NLL_SANITIZE)
    # One test a room: the sanitizers make every start of a program slow. scripts/test.sh runs several builds together.
    add_test(NAME ${NLL_TEST_PREFIX}${name} COMMAND test_${name} --gtest_brief=1)
    set_tests_properties(${NLL_TEST_PREFIX}${name} PROPERTIES TIMEOUT 900)
  else()
    gtest_discover_tests(test_${name} TEST_PREFIX "${name}/" DISCOVERY_TIMEOUT 60 PROPERTIES TIMEOUT 600)
  endif()
endfunction()
