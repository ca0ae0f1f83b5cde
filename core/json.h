/* JSON as the command line uses it: an object becomes names and values, nested names joined by dots
 * ("a.b", "list.0"), true and false become on and off, null is left out. */
#pragma once

struct error;

struct error *json_flatten(const char *text,
                           void (*add)(void *opaque, const char *name, const char *value),
                           void *opaque);
