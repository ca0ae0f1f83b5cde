/* Libraries that only some runs need: loaded when they do, so that all others start without them. The types
 * come from the library's header:
 *
 *     #define FUNCTIONS(X) X(png_create) X(png_free)
 *     struct png { FUNCTIONS(LIBRARY_MEMBER) };
 *     static const char *const names[] = { FUNCTIONS(LIBRARY_NAME) };
 *     err = library_open("libpng16.so.16", names, ARRAY_LEN(names), &png); */
#pragma once

#include <stddef.h>

struct error;

#define LIBRARY_MEMBER(function) typeof(function) *function;
#define LIBRARY_NAME(function)   #function,

/* Fill the n pointers at `to`. The library stays loaded. Reads files: before the sandbox. */
struct error *library_open(const char *soname, const char *const *names, size_t n, void *to);
