/* Integer, flags, strings; see helpers.h. */
