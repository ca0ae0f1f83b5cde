/* A folder of a test's own, with a file in it that need not be there. */
#pragma once

extern char scratch_folder[], scratch_file[64];
/* Set up and taken away around all facts of a cmocka group. */
int scratch_make(void **unused);
int scratch_remove(void **unused);
