/* A look in a table in place of comparisons, for each byte of a name. */
#include "xml/chars.h"

const unsigned char char_kinds[256] = {
	[0x20] = 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6, 2, 0,   /* space to '/' */
	6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 0, 0, 0, 0, 0, 0,   /* 0123456789:;<=>? */
	0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,   /* @ABCDEFGHIJKLMNO */
	7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 3,   /* PQRSTUVWXYZ[\]^_ */
	0, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,   /* `abcdefghijklmno */
	7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0, 0,   /* pqrstuvwxyz{|}~ */
};
