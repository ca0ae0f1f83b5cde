/* x87, FXSAVE, XSAVE; see helpers.h. */
