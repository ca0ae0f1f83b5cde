/* Protection, system instructions; see helpers.h. */
