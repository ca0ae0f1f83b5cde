/* An error is a value that travels up. NULL means success; only main prints and exits. */
#pragma once

struct error;

struct error *error_new(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* As error_new, with ": " and the text of errno behind it. */
struct error *error_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Put "where: " before an error. NULL in, NULL out. */
struct error *error_in(struct error *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
const char *error_text(const struct error *err);
void error_free(struct error *err);
